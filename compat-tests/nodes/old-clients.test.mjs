// Bitrix's older clients once more, where the server is three nodes and each request goes to another one than the one before.

process.env.NODES = '3';
await import('../bitrix/old-clients.test.mjs');

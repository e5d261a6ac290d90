// curl and clients of Node and Python once more, where the server is three nodes and each request goes to another one than the one before.

process.env.NODES = '3';
for (const suite of ['curl/modes', 'node-clients/eventsource', 'node-clients/ws', 'python-clients/clients']) await import(`../${suite}.test.mjs`);

// The wire tests once more, through the router inside an axum application.

process.env.WIRE_DOOR = 'router';
for (const suite of ['publisher', 'statistics', 'subscribers', 'websocket']) await import(`../wire/${suite}.test.mjs`);

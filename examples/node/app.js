// A web server from Node's own modules alone. Edit MESSAGE, save, reload the page.
'use strict';

const http = require('http');

const MESSAGE = 'Hello from Node!';

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`${MESSAGE}\n`);
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});

// Finish the requests that are running, then end.
process.on('SIGTERM', () => {
  server.close();
  server.closeIdleConnections?.();
});

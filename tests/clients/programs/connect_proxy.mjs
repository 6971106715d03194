// A forward proxy that knows only CONNECT, as homes and offices have it. Prints where it listens, then
// one line for every tunnel. Tunnels lead to this machine only.
import { createServer } from 'node:http';
import { connect } from 'node:net';

const proxy = createServer((_request, response) => response.writeHead(405).end('CONNECT only\n'));

proxy.on('connect', (request, client, first) => {
  const { hostname, port } = new URL(`tunnel://${request.url}`);
  if (!['localhost', '127.0.0.1'].includes(hostname)) {
    client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    return;
  }
  console.log(`CONNECT ${request.url}`);
  const server = connect({ host: hostname, port }, () => {
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    server.write(first);
    server.pipe(client).pipe(server);
  });
  // Either end may go at any time; the tunnel goes with it.
  server.on('error', () => client.destroy()).on('close', () => client.destroy());
  client.on('error', () => server.destroy()).on('close', () => server.destroy());
});

proxy.listen(0, '127.0.0.1', () => console.log(`listening http://127.0.0.1:${proxy.address().port}`));

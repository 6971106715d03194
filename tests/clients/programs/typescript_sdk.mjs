// The TypeScript SDK's clients for /sse, /mcp and stdio, driven by JSON-RPC lines: node typescript_sdk.mjs NODE_FOLDER URL|stdio
// With stdio it starts the program that SERVER names, in its own environment.
// Every request is made with the SDK's own calls; a `notifications/cancelled` line aborts the call of that id.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [nodeFolder, url] = process.argv.slice(2);
const packages = createRequire(join(nodeFolder, 'package.json'));
const sdk = (part) => import(pathToFileURL(packages.resolve(`@modelcontextprotocol/sdk/${part}`)).href);
const { Client } = await sdk('client/index.js');
const { SSEClientTransport } = await sdk('client/sse.js');
const { StreamableHTTPClientTransport } = await sdk('client/streamableHttp.js');
const { StdioClientTransport } = await sdk('client/stdio.js');
function transport() {
  if (url === 'stdio') return new StdioClientTransport({ command: process.env.SERVER, env: process.env });
  const Transport = url.endsWith('/mcp') ? StreamableHTTPClientTransport : SSEClientTransport;
  return new Transport(new URL(url));
}

const client = new Client({ name: 'typescript-sdk-run', version: '1' });
const running = new Map();

const requests = {
  async initialize() {
    await client.connect(transport());
    return { serverInfo: client.getServerVersion(), capabilities: client.getServerCapabilities() };
  },
  'tools/list': (params, options) => client.listTools(params, options),
  'tools/call': (params, options) => client.callTool(params, undefined, options),
};

async function answer({ id, method, params }) {
  const stop = new AbortController();
  running.set(id, stop);
  let reply;
  try {
    reply = { result: await requests[method](params, { signal: stop.signal }) };
  } catch (error) {
    reply = { error: { code: error.code ?? -32603, message: String(error) } };
  }
  running.delete(id);
  console.log(JSON.stringify({ jsonrpc: '2.0', id, ...reply }));
}

client.onerror = (error) => console.error(String(error));
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const message = JSON.parse(line);
    if (message.id !== undefined) answer(message);
    else if (message.method === 'notifications/cancelled') running.get(message.params.requestId)?.abort('stopped');
  })
  .on('close', () => (url === 'stdio' ? client.close().then(() => process.exit(0)) : process.exit(0)));

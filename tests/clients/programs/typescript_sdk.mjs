// The clients of the TypeScript SDK 1.x for /sse, /mcp and stdio, driven by JSON-RPC lines:
// node typescript_sdk.mjs NODE_FOLDER URL|stdio
// With stdio it starts the program that SERVER names, in its own environment. With LOGIN_FOLDER it logs in over OAuth.
import { importer, serve } from './lines.mjs';
import { connectBy, login } from './login.mjs';

const [nodeFolder, url] = process.argv.slice(2);
const sdk = importer(nodeFolder, '@modelcontextprotocol/sdk');
const { Client } = await sdk('client/index.js');
const { UnauthorizedError } = await sdk('client/auth.js');
const { SSEClientTransport } = await sdk('client/sse.js');
const { StreamableHTTPClientTransport } = await sdk('client/streamableHttp.js');
const { StdioClientTransport } = await sdk('client/stdio.js');

const owner = await login(process.env.LOGIN_FOLDER, 'typescript-sdk-run');

function transport() {
  if (url === 'stdio') return new StdioClientTransport({ command: process.env.SERVER, env: process.env });
  const Transport = url.endsWith('/mcp') ? StreamableHTTPClientTransport : SSEClientTransport;
  return new Transport(new URL(url), { authProvider: owner?.provider });
}

const client = new Client({ name: 'typescript-sdk-run', version: '1' });
client.onerror = (error) => console.error(String(error));

serve({
  async initialize() {
    await connectBy(owner, client, transport, UnauthorizedError, (parameters) => parameters.get('code'));
    return { serverInfo: client.getServerVersion(), capabilities: client.getServerCapabilities() };
  },
  'tools/list': (params, options) => client.listTools(params, options),
  'tools/call': (params, options) => client.callTool(params, undefined, options),
  'resources/list': (params, options) => client.listResources(params, options),
  'resources/read': (params, options) => client.readResource(params, options),
  'prompts/list': (params, options) => client.listPrompts(params, options),
  'prompts/get': (params, options) => client.getPrompt(params, options),
}, () => (url === 'stdio' ? client.close().then(() => process.exit(0)) : process.exit(0)));

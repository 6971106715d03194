// @modelcontextprotocol/client, the TypeScript SDK of 2.x, for /mcp and stdio, driven by JSON-RPC lines:
// node typescript_client.mjs NODE_FOLDER URL|stdio legacy|auto
// The last word is how it negotiates. With stdio it starts the program that SERVER names. With LOGIN_FOLDER it logs
// in over OAuth.
import { importer, serve } from './lines.mjs';
import { connectBy, login } from './login.mjs';

const [nodeFolder, url, mode] = process.argv.slice(2);
const sdk = importer(nodeFolder, '@modelcontextprotocol/client');
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await sdk('');
const { StdioClientTransport } = await sdk('stdio');

const client = new Client({ name: 'typescript-client-run', version: '1' }, { versionNegotiation: { mode } });
client.onerror = (error) => console.error(String(error));

const owner = await login(process.env.LOGIN_FOLDER, 'typescript-client-run');

function transport() {
  if (url === 'stdio') return new StdioClientTransport({ command: process.env.SERVER, env: process.env });
  return new StreamableHTTPClientTransport(new URL(url), { authProvider: owner?.provider });
}

serve({
  async initialize() {
    // It looks at who answers (RFC 9207), so it gets everything.
    await connectBy(owner, client, transport, UnauthorizedError, (parameters) => parameters);
    return { serverInfo: client.getServerVersion(), protocolVersion: client.getNegotiatedProtocolVersion() };
  },
  'tools/list': (params, options) => client.listTools(params, options),
  'tools/call': (params, options) => client.callTool(params, options),
}, () => (url === 'stdio' ? client.close().then(() => process.exit(0)) : process.exit(0)));

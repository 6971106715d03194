// @modelcontextprotocol/client, the TypeScript SDK of 2.x, for /mcp and stdio, driven by JSON-RPC lines:
// node typescript_client.mjs NODE_FOLDER URL|stdio legacy|auto
// The last word is how it negotiates. With stdio it starts the program that SERVER names.
import { importer, serve } from './lines.mjs';

const [nodeFolder, url, mode] = process.argv.slice(2);
const sdk = importer(nodeFolder, '@modelcontextprotocol/client');
const { Client, StreamableHTTPClientTransport } = await sdk('');
const { StdioClientTransport } = await sdk('stdio');

const client = new Client({ name: 'typescript-client-run', version: '1' }, { versionNegotiation: { mode } });
client.onerror = (error) => console.error(String(error));

serve({
  async initialize() {
    await client.connect(url === 'stdio'
      ? new StdioClientTransport({ command: process.env.SERVER, env: process.env })
      : new StreamableHTTPClientTransport(new URL(url)));
    return { serverInfo: client.getServerVersion(), protocolVersion: client.getNegotiatedProtocolVersion() };
  },
  'tools/list': (params, options) => client.listTools(params, options),
  'tools/call': (params, options) => client.callTool(params, options),
}, () => (url === 'stdio' ? client.close().then(() => process.exit(0)) : process.exit(0)));

// The benchmark's baseline: `list_models` on the TypeScript SDK's own HTTP+SSE server, over TLS.
// Settings come from the environment: PORT, LM_STUDIO_URL, and HTTPS_CERT_PATH with HTTPS_KEY_PATH; without them it speaks plain http.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import express from 'express';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';

const { PORT, LM_STUDIO_URL, HTTPS_CERT_PATH, HTTPS_KEY_PATH } = process.env;

function withListModels() {
  const server = new McpServer({ name: 'baseline', version: '1' });
  server.registerTool('list_models', { description: 'Lists the models' }, async () => {
    const answer = await fetch(`${LM_STUDIO_URL}/v1/models`);
    const { data } = await answer.json();
    return { content: [{ type: 'text', text: data.map((model) => model.id).join('\n') }] };
  });
  return server;
}

const sessions = new Map();
const app = express();

app.get('/sse', async (_request, response) => {
  const transport = new SSEServerTransport('/messages', response);
  sessions.set(transport.sessionId, transport);
  response.on('close', () => sessions.delete(transport.sessionId));
  await withListModels().connect(transport);
});

app.post('/messages', async (request, response) => {
  const transport = sessions.get(request.query.sessionId);
  if (transport) await transport.handlePostMessage(request, response);
  else response.sendStatus(404);
});

const server = HTTPS_CERT_PATH
  ? https.createServer({ cert: readFileSync(HTTPS_CERT_PATH), key: readFileSync(HTTPS_KEY_PATH) }, app)
  : http.createServer(app);
server.listen(Number(PORT), '127.0.0.1');

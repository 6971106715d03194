// JSON-RPC lines in, calls of a client package, JSON-RPC lines out: what the Node programs share.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// Imports parts of one package from the folder where the runs install theirs.
export function importer(nodeFolder, name) {
  const packages = createRequire(join(nodeFolder, 'package.json'));
  return (part) => import(pathToFileURL(packages.resolve(part ? `${name}/${part}` : name)).href);
}

// Answers each line with `requests[method](params, options)`. The options carry a signal, which a
// `notifications/cancelled` line of that id aborts, and what makes progress lines with the host's own
// token; progress lets the SDK wait on beyond its timeout of a minute. Calls `close` when the input ends.
export function serve(requests, close) {
  const running = new Map();
  const write = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));

  async function answer({ id, method, params: { _meta: meta, ...params } }) {
    const stop = new AbortController();
    running.set(id, stop);
    const progressToken = meta?.progressToken;
    const onprogress = progressToken === undefined ? undefined
      : (progress) => write({ method: 'notifications/progress', params: { ...progress, progressToken } });
    let reply;
    try {
      reply = { result: await requests[method](params, { signal: stop.signal, onprogress, resetTimeoutOnProgress: true }) };
    } catch (error) {
      reply = { error: { code: error.code ?? -32603, message: String(error) } };
    }
    running.delete(id);
    write({ id, ...reply });
  }

  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const message = JSON.parse(line);
      if (message.id !== undefined) answer(message);
      else if (message.method === 'notifications/cancelled') running.get(message.params.requestId)?.abort('stopped');
    })
    .on('close', close);
}

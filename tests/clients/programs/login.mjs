// The part of an OAuth client that the SDKs leave to their host: a listener on this machine for the
// answer, the owner's browser (BROWSER, as other programs know it), and files for what has to be kept.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

// `provider` is the SDK's OAuthClientProvider; `answer()` waits for what the browser brings back, and fails
// when the owner has said no. Without a folder there is no login.
export async function login(folder, clientName) {
  if (!folder) return undefined;
  let arrived;
  const query = new Promise((resolve) => { arrived = resolve; });
  const listener = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://127.0.0.1');
    response.end('Back in the client.\n');
    if (pathname === '/callback') arrived(searchParams);
  });
  await new Promise((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  listener.unref();
  const redirectUrl = `http://127.0.0.1:${listener.address().port}/callback`;
  const state = randomUUID();
  let verifier;

  const file = (name) => join(folder, `${name}.json`);
  const read = (name) => (existsSync(file(name)) ? JSON.parse(readFileSync(file(name))) : undefined);
  const write = (name, value) => writeFileSync(file(name), JSON.stringify(value), { mode: 0o600 });
  const provider = {
    redirectUrl,
    clientMetadata: {
      client_name: clientName,
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    state: () => state,
    clientInformation: () => read('client'),
    saveClientInformation: (client) => write('client', client),
    tokens: () => read('tokens'),
    saveTokens: (tokens) => write('tokens', tokens),
    codeVerifier: () => verifier,
    saveCodeVerifier: (made) => { verifier = made; },
    redirectToAuthorization: (url) => { spawn(process.env.BROWSER, [String(url)], { stdio: 'ignore' }); },
  };

  async function answer() {
    const parameters = await query;
    if (parameters.has('error')) throw new Error(`the login failed: ${parameters.get('error')}`);
    if (parameters.get('state') !== state) throw new Error('the answer is not for this login');
    return parameters;
  }
  return { provider, answer };
}

// Connects; where that needs the owner, waits for his answer, hands in what `of` takes of it, and connects again.
export async function connectBy(owner, client, transport, UnauthorizedError, of) {
  const first = transport();
  try {
    await client.connect(first);
  } catch (error) {
    if (!owner || !(error instanceof UnauthorizedError)) throw error;
    await first.finishAuth(of(await owner.answer()));
    // Its failed start may have left the client with the first transport.
    await client.close();
    await client.connect(transport());
  }
}

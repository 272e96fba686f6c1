// What is around an SDK in an application that uses it: it keeps the credentials,
// sends the person to the browser and waits for the answer on a loopback port.
// Here the one who uses the application is a test, which sends commands on
// standard input and gets reports on standard output, each a line of JSON.
//
//   {"do":"connect", "endpoint", ...}       see connect
//   {"do":"call", "tool", "arguments"}
//   {"do":"credentials"}
//
//   {"report":"ready", "redirect_uri"}      once, at the start
//   {"report":"open", "url"}                a browser is wanted; the command goes on
//   {"report":"sent", "url", "status",      a form was posted: a token request
//    "authorization", "form"}
//   {"report":"done", "value"}              what a command ends with,
//   {"report":"failed", "name", "code", "message"}    or this
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

export class CallbackError extends Error {
  constructor(code) {
    super(`the callback says ${code}`);
    this.name = 'CallbackError';
    this.code = code;
  }
}

// drive obeys commands with an SDK until standard input ends.
export async function drive(sdk) {
  const callback = await listen();
  const application = new Application(sdk, callback);
  report('ready', { redirect_uri: callback.url });
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: command, ...given } = JSON.parse(line);
    try {
      report('done', { value: (await application.obey(command, given)) ?? null });
    } catch (error) {
      // The SDKs name an OAuth error's code differently.
      report('failed', { name: error.constructor.name, code: String(error.errorCode ?? error.code ?? ''), message: error.message });
    }
  }
  await application.client?.close();
  callback.close();
}

function report(name, values) {
  process.stdout.write(JSON.stringify({ report: name, ...values }) + '\n');
}

class Application {
  constructor(sdk, callback) {
    this.sdk = sdk;
    this.callback = callback;
  }

  obey(command, given) {
    switch (command) {
      case 'connect':
        return this.connect(given);
      case 'call':
        return this.call(given);
      case 'credentials':
        return { client: this.provider.clientInformation(), tokens: this.provider.tokens() };
      default:
        throw new Error(`unknown command ${command}`);
    }
  }

  // connect starts over: as a person's application, or with "machine" as one that
  // acts for itself. Without "client" it has no credentials yet: it has a metadata
  // document at "metadata_url", or registers itself.
  async connect({ endpoint, issuer, client, machine = false, ...given }) {
    this.provider = machine ? this.machine(client, issuer) : this.personal(client, issuer, given);
    await this.withPerson(async () => {
      this.client = new this.sdk.Client({ name: 'grantd-e2e', version: '1.0.0' });
      this.transport = new this.sdk.StreamableHTTPClientTransport(new URL(endpoint), { authProvider: this.provider, fetch: reportedFetch });
      await this.client.connect(this.transport);
    });
  }

  machine(client, issuer) {
    const common = { clientId: client.client_id, expectedIssuer: issuer };
    return client.private_key
      ? new this.sdk.PrivateKeyJwtProvider({ ...common, privateKey: client.private_key, algorithm: 'ES256' })
      : new this.sdk.ClientCredentialsProvider({ ...common, clientSecret: client.client_secret });
  }

  personal(client, issuer, { redirect_uri: redirectURI = this.callback.url, metadata_url: metadataURL, private_key: privateKey }) {
    const provider = new Provider(redirectURI, client);
    provider.clientMetadataUrl = metadataURL;
    if (privateKey) {
      provider.addClientAuthentication = this.sdk.createPrivateKeyJwtAuth({ issuer: metadataURL, subject: metadataURL, privateKey, alg: 'ES256', audience: issuer });
    }
    return provider;
  }

  async call({ tool, arguments: given }) {
    const result = await this.withPerson(() => this.client.callTool({ name: tool, arguments: given }));
    if (result.isError) {
      throw new Error(`the tool failed: ${JSON.stringify(result.content)}`);
    }
  }

  // withPerson does something again after a person was asked for it. That is how
  // both SDKs want it: they stop at the authorization request.
  async withPerson(action) {
    this.provider.asked = false;
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof this.sdk.UnauthorizedError) || !this.provider.asked) {
        throw error;
      }
    }
    const answer = await this.callback.answer();
    if (answer.get('state') !== this.provider.expectedState) {
      throw new CallbackError('a state that was not sent');
    }
    await this.sdk.finishAuth(this.transport, answer);
    return action();
  }
}

// Provider keeps in memory what the SDK asks an application to keep.
class Provider {
  constructor(redirectURI, client) {
    this.redirectUrl = redirectURI;
    this.client = client;
  }

  get clientMetadata() {
    return {
      client_name: 'grantd e2e',
      redirect_uris: [this.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() {
    this.expectedState = randomUUID();
    return this.expectedState;
  }

  clientInformation() {
    return this.client;
  }

  saveClientInformation(client) {
    this.client = client;
  }

  tokens() {
    return this.saved;
  }

  saveTokens(tokens) {
    this.saved = tokens;
  }

  codeVerifier() {
    return this.verifier;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  discoveryState() {
    return this.discovered;
  }

  saveDiscoveryState(discovered) {
    this.discovered = discovered;
  }

  invalidateCredentials(which) {
    const all = which === 'all';
    if (all || which === 'client') this.client = undefined;
    if (all || which === 'tokens') this.saved = undefined;
    if (all || which === 'verifier') this.verifier = undefined;
    if (all || which === 'discovery') this.discovered = undefined;
  }

  redirectToAuthorization(url) {
    this.asked = true;
    report('open', { url: String(url) });
  }
}

// reportedFetch is fetch, and tells of every form that was posted.
async function reportedFetch(url, init) {
  const response = await fetch(url, init);
  if (init?.body instanceof URLSearchParams) {
    report('sent', {
      url: String(url),
      status: response.status,
      authorization: new Headers(init.headers).get('Authorization') ?? '',
      form: Object.fromEntries(init.body),
    });
  }
  return response;
}

// listen opens the redirect URI: a port of this machine that takes answers.
async function listen() {
  const answers = [];
  const waiting = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (url.pathname !== '/callback') {
      response.writeHead(404).end();
      return;
    }
    response.end('You can close this page.');
    const take = waiting.shift();
    take ? take(url.searchParams) : answers.push(url.searchParams);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/callback`,
    answer: () => (answers.length > 0 ? Promise.resolve(answers.shift()) : new Promise((resolve) => waiting.push(resolve))),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

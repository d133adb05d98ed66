/** Credentials and tokens: the challenge and token flow, files, helpers, what must never be shown. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { collect, copyImage } from '../../src/content/copy-image.ts';
import { findInAuths } from '../../src/registry/auth-file.ts';
import { jsonErrorOffset } from '../../src/registry/json-offset.ts';
import { findCredentials } from '../../src/registry/keychain.ts';
import { joinScopes } from '../../src/registry/scopes.ts';
import { keep, makeImage, openBench, reference, rejects, signal, type Bench } from '../registry/fixture.ts';
import { startTestRegistry, type TestRegistry, type TestRegistryOptions } from '../registry/test-registry.ts';

let bench: Bench;
const started: AsyncDisposable[] = [];
beforeEach(() => {
  bench = openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  for (const each of started.splice(0)) await each[Symbol.asyncDispose]();
});

interface Asked {
  readonly method: string;
  readonly scopes: readonly string[];
  readonly authorization: string | undefined;
  readonly form: URLSearchParams;
  readonly query: URLSearchParams;
}

interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly asked: Asked[];
  /** Tokens that the registry takes now. */
  readonly good: Map<string, readonly string[]>;
}

interface TokenOptions {
  readonly status?: (asked: Asked) => number;
  readonly life?: number;
  /** So many tokens are worth nothing. */
  readonly expired?: number;
  readonly answer?: (token: string) => unknown;
  readonly grant?: (scopes: readonly string[]) => readonly string[];
}

async function startTokenServer(options: TokenOptions = {}): Promise<TokenServer> {
  const asked: Asked[] = [];
  const good = new Map<string, readonly string[]>();
  let made = 0;
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const form = new URLSearchParams(body);
      const scopes = request.method === 'POST' ? (form.get('scope') ?? '').split(' ') : query.getAll('scope');
      const one: Asked = {
        method: request.method ?? '',
        scopes,
        authorization: request.headers.authorization,
        form,
        query,
      };
      asked.push(one);
      const status = options.status?.(one) ?? 200;
      if (status !== 200)
        return void response.writeHead(status).end('{"details":"incorrect username or password"}');
      made += 1;
      const token = `token-${made}`;
      if (made > (options.expired ?? 0)) good.set(token, options.grant?.(scopes) ?? scopes);
      const answer = options.answer?.(token) ?? { token, expires_in: options.life ?? 300 };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const made2: TokenServer = {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token?keep=a%20b`,
    asked,
    good,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  started.push(made2);
  return made2;
}

/** A registry that wants a token which holds what a request needs. */
async function startGuarded(
  tokens: TokenServer,
  options: TestRegistryOptions & { readonly challenge?: string } = {},
): Promise<TestRegistry> {
  const registry = await startTestRegistry({
    ...options,
    authorize({ method, url, headers }) {
      const name = /^\/v2\/(.+)\/(?:blobs|manifests|tags|referrers)/.exec(url)?.[1] ?? '';
      const isWrite = method !== 'GET' && method !== 'HEAD';
      const needed = name === '' ? [] : [`repository:${name}:${isWrite ? 'pull,push' : 'pull'}`];
      const from = new URL(url, 'http://x').searchParams.get('from');
      if (from !== null) needed.push(`repository:${from}:pull`);
      const granted = tokens.good.get(/^Bearer (.*)$/.exec(headers.authorization ?? '')?.[1] ?? '');
      const challenge =
        options.challenge ??
        `Bearer realm="${tokens.realm}",service="test registry",scope="${needed.join(' ')}"`;
      if (granted === undefined)
        return {
          status: 401,
          challenge: headers.authorization === undefined ? challenge : `${challenge},error="invalid_token"`,
        };
      const has = (scope: string): boolean => {
        const [, repository, actions = ''] = /^repository:(.+):([^:]*)$/.exec(scope) ?? [];
        return granted.some((each) => {
          const [, other, held = ''] = /^repository:(.+):([^:]*)$/.exec(each) ?? [];
          return (
            other === repository && actions.split(',').every((action) => held.split(',').includes(action))
          );
        });
      };
      return needed.every(has)
        ? undefined
        : { status: 401, challenge: `${challenge},error="insufficient_scope"` };
    },
  });
  started.push(registry);
  return registry;
}

function credentials(
  host: string,
  entry: object,
): { readonly inlineConfigs: readonly { readonly name: string; readonly text: string }[] } {
  return { inlineConfigs: [{ name: 'test', text: JSON.stringify({ auths: { [host]: entry } }) }] };
}

async function push(
  registry: TestRegistry,
  settings: object,
  repository = 'team/app',
  client = bench.client(settings),
): Promise<void> {
  const image = makeImage([1000]);
  keep(bench.store, image);
  const to = reference(registry.host, '1', repository);
  const sink = client.sink(to);
  await copyImage(image.root, bench.store, sink, bench.io);
  await sink.tag(to, image.root, bench.io);
}

test('C13: a push asks once for pull and push, by GET with basic, and keeps the realm as it is', async () => {
  const tokens = await startTokenServer();
  const registry = await startGuarded(tokens);
  await push(registry, credentials(registry.host, { username: 'ann', password: 'p:w' }));
  assert.equal(tokens.asked.length, 1);
  const [asked] = tokens.asked;
  assert.equal(asked?.method, 'GET');
  assert.deepEqual(asked.scopes, ['repository:team/app:pull,push']);
  assert.equal(asked.authorization, `Basic ${Buffer.from('ann:p:w').toString('base64')}`);
  assert.equal(asked.query.get('keep'), 'a b');
  assert.equal(asked.query.get('service'), 'test registry');
  assert.equal(asked.query.get('account'), 'ann');
});

test('C13: a mount asks for the source as well, target first', async () => {
  const tokens = await startTokenServer();
  const registry = await startGuarded(tokens);
  const client = bench.client(credentials(registry.host, { username: 'ann', password: 'pw' }));
  await push(registry, {}, 'alice/shared', client);
  await push(registry, {}, 'bob/mine', client);
  assert.ok(
    tokens.asked.some(
      ({ scopes }) => scopes.join(' ') === 'repository:bob/mine:pull,push repository:alice/shared:pull',
    ),
  );
  assert.ok(registry.log.some(({ url, status }) => url.includes('mount=') && status === 201));
});

test('C13: without credentials a token is asked for anonymously', async () => {
  const tokens = await startTokenServer();
  const registry = await startGuarded(tokens);
  const blob = Buffer.from('x');
  registry.state.repository('team/app').blobs.set(digestOf(blob), blob);
  const source = bench.client().source(reference(registry.host));
  await collect(source.open({ mediaType: 'x', digest: digestOf(blob), size: 1 }, { signal }));
  assert.equal(tokens.asked[0]?.authorization, undefined);
  assert.deepEqual(tokens.asked[0]?.scopes, ['repository:team/app:pull']);
});

for (const field of ['token', 'access_token'])
  test(`C13: a token may come as ${field}, without a life`, async () => {
    const tokens = await startTokenServer({ answer: (token) => ({ [field]: token }) });
    const registry = await startGuarded(tokens);
    await push(registry, {});
  });

test('C13: one token that expired too soon is replaced, endless ones are an error after two', async () => {
  const once = await startTokenServer({ expired: 1 });
  await push(await startGuarded(once), {});
  assert.equal(once.asked.length, 2);
  const never = await startTokenServer({ expired: 99 });
  const registry = await startGuarded(never);
  await rejects(push(registry, {}), 'REGISTRY_AUTH', /401/);
  // Two blobs are looked for at the same time.
  assert.ok(never.asked.length <= 4);
});

test('C13: a token that is refused in the middle of a push is replaced, and the body sent again', async () => {
  const tokens = await startTokenServer();
  let dropped = false;
  const registry = await startGuarded(tokens, {
    fault: ({ method, url }) => {
      if (method === 'PUT' && url.includes('/blobs/') && !dropped) {
        dropped = true;
        tokens.good.clear();
      }
      return undefined;
    },
  });
  await push(registry, {});
  assert.equal(tokens.asked.length, 2);
});

test('C13: a token that is nearly spent is replaced before it is refused', async () => {
  const tokens = await startTokenServer({ life: 0.001 });
  const registry = await startGuarded(tokens);
  await push(registry, {});
  assert.ok(tokens.asked.length > 2);
  assert.ok(registry.log.filter(({ status }) => status === 401).length <= 2);
});

test('C13: a token for less than was asked is asked for once more, and then it is denied', async () => {
  const tokens = await startTokenServer({
    grant: (scopes) => scopes.map((scope) => scope.replace(/,push$/, '')),
  });
  const registry = await startGuarded(tokens);
  await rejects(push(registry, {}), 'REGISTRY_AUTH', /push to .*"team\/app"/);
  assert.ok(tokens.asked.length <= 3);
});

test('C13: an identity token goes by POST, and by GET where a server knows no POST', async () => {
  for (const refusal of [undefined, 404, 405, 400, 401]) {
    const tokens = await startTokenServer({
      status: ({ method }) => (method === 'POST' ? (refusal ?? 200) : 200),
    });
    const registry = await startGuarded(tokens);
    await push(registry, credentials(registry.host, { identitytoken: 'refresh-me' }));
    assert.equal(tokens.asked[0]?.method, 'POST');
    assert.equal(tokens.asked[0].form.get('grant_type'), 'refresh_token');
    assert.equal(tokens.asked[0].form.get('refresh_token'), 'refresh-me');
    if (refusal !== undefined)
      assert.equal(
        tokens.asked[1]?.authorization,
        `Basic ${Buffer.from('<token>:refresh-me').toString('base64')}`,
      );
  }
});

test('C13: a password goes by POST where a server knows no GET', async () => {
  const tokens = await startTokenServer({ status: ({ method }) => (method === 'GET' ? 405 : 200) });
  const registry = await startGuarded(tokens);
  await push(registry, credentials(registry.host, { username: 'ann', password: 'pw' }));
  assert.equal(tokens.asked[1]?.form.get('grant_type'), 'password');
});

test('C13: a registry token is used as it is', async () => {
  const tokens = await startTokenServer();
  tokens.good.set('mine', ['repository:team/app:pull,push']);
  const registry = await startGuarded(tokens);
  await push(registry, credentials(registry.host, { registrytoken: 'mine' }));
  assert.equal(tokens.asked.length, 0);
});

test('C13: a wrong password is said with the words of the token server, and what helps', async () => {
  const tokens = await startTokenServer({ status: () => 401 });
  const registry = await startGuarded(tokens);
  const error = await rejects(
    push(registry, credentials(registry.host, { username: 'ann', password: 'hidden-pw' })),
    'REGISTRY_AUTH',
    /getting a token .*401: incorrect username or password/,
  );
  assert.match(error.hint ?? '', /tsbuild login/);
  assert.doesNotMatch(`${error.message} ${error.stack}`, /hidden-pw/);
});

test('C13: a token server that fails for a moment is asked again', async () => {
  let asked = 0;
  const tokens = await startTokenServer({ status: () => ((asked += 1) <= 2 ? 503 : 200) });
  await push(await startGuarded(tokens), {});
  assert.equal(tokens.asked.length, 3);
});

for (const realm of ['null://host/v2/token', 'http://host:1:1/token', '', 'ftp://h/t'])
  test(`C13: the realm ${JSON.stringify(realm)} is an error that shows it`, async () => {
    const tokens = await startTokenServer();
    const registry = await startGuarded(tokens, { challenge: `Bearer realm="${realm}"` });
    await rejects(push(registry, {}), 'REGISTRY_PROTOCOL', /token server/);
  });

test('C13: a challenge that only the ping names is found there', async () => {
  const tokens = await startTokenServer();
  const registry = await startTestRegistry({
    authorize({ url, headers }) {
      if (headers.authorization !== undefined) return undefined;
      return url === '/v2/' ? { status: 401, challenge: `Bearer realm="${tokens.realm}"` } : { status: 401 };
    },
  });
  started.push(registry);
  await push(registry, {});
  assert.equal(registry.calls().filter((call) => call === 'GET /v2/').length, 1);
});

test('C13: basic without a password that fits is not repeated', async () => {
  const registry = await startTestRegistry({
    authorize: () => ({ status: 401, challenge: 'Basic realm="x"' }),
  });
  started.push(registry);
  await rejects(
    push(registry, credentials(registry.host, { username: 'u', password: 'p' })),
    'REGISTRY_AUTH',
  );
  assert.ok(registry.log.length <= 4, String(registry.log.length));
});

test('C22: nothing that is traced or told holds a secret', async () => {
  const lines: string[] = [];
  const tokens = await startTokenServer({
    answer: (token) => ({ token: `${token}.eyJhbGciOiJSUzI1NiJ9.secretsecret`, expires_in: 300 }),
  });
  const registry = await startTestRegistry({
    location: 'absolute',
    authorize: ({ headers }) =>
      headers.authorization === undefined
        ? { status: 401, challenge: `Bearer realm="${tokens.realm}"` }
        : undefined,
  });
  started.push(registry);
  await push(registry, {
    ...credentials(registry.host, { username: 'ann', password: 'hunter2pass' }),
    trace: (line: string) => void lines.push(line),
  });
  const all = [...lines, ...bench.notices.map((notice) => JSON.stringify(notice))].join('\n');
  assert.ok(lines.length > 10);
  assert.match(all, /authorization: Bearer \*\*\*/);
  assert.match(all, /_state=\*\*\*/);
  assert.doesNotMatch(all, /hunter2pass|secretsecret|Bearer ey|_state=\d|YW5uOmh1bnRlcjJwYXNz/);
});

test('scopes are joined, ours first', () => {
  assert.deepEqual(
    joinScopes('repository:a:pull,push', 'repository:b:pull', 'repository:a:pull', 'repository:b:delete'),
    ['repository:a:pull,push', 'repository:b:pull,delete'],
  );
  assert.deepEqual(joinScopes('registry:catalog:*'), ['registry:catalog:*']);
});

test('C14: keys of auths: paths before hosts, URLs, default ports, all names of Docker Hub', () => {
  const auth = (user: string): { auth: string } => ({ auth: Buffer.from(`${user}:p`).toString('base64') });
  const auths = {
    'r.io': auth('host'),
    'r.io/a': auth('a'),
    'r.io/a/b': auth('ab'),
    'https://v.io/v2/': auth('v'),
    'p.io:443': auth('port'),
    'https://index.docker.io/v2/': auth('hub'),
    'marker.io': {},
    'UPPER.io': auth('upper'),
  };
  const user = (registry: string, repository: string): string | undefined =>
    findInAuths(auths, registry, repository)?.username;
  assert.equal(user('r.io', 'x'), 'host');
  assert.equal(user('r.io', 'a/c'), 'a');
  assert.equal(user('r.io', 'a/b/c'), 'ab');
  assert.equal(user('r.io', 'ab'), 'host');
  assert.equal(user('v.io', 'x'), 'v');
  assert.equal(user('p.io', 'x'), 'port');
  assert.equal(user('p.io:8443', 'x'), undefined);
  assert.equal(user('docker.io', 'library/x'), 'hub');
  assert.equal(user('marker.io', 'x'), undefined);
  assert.equal(user('upper.io', 'x'), 'upper');
});

test('C14: entries as tools write them', () => {
  const read = (entry: object): unknown => findInAuths({ 'r.io': entry as never }, 'r.io', 'x');
  const b64 = (text: string): string => Buffer.from(text).toString('base64');
  assert.deepEqual(read({ auth: `${b64('u:a:b\n')}\n` }), { username: 'u', password: 'a:b' });
  assert.deepEqual(read({ auth: b64('u:p\0\0') }), { username: 'u', password: 'p' });
  assert.deepEqual(read({ username: 'u', password: 'p' }), { username: 'u', password: 'p' });
  assert.deepEqual(read({ auth: b64('<token>:idt') }), { username: '', password: '', identityToken: 'idt' });
  assert.deepEqual(read({ auth: b64('00000000-0000-0000-0000-000000000000:'), identitytoken: 'idt' }), {
    username: '00000000-0000-0000-0000-000000000000',
    password: '',
    identityToken: 'idt',
  });
  assert.equal(read({}), undefined);
});

test('C14: a file that is not JSON is named with the byte, and nothing of it is shown', async () => {
  const path = join(bench.directory, 'bad.json');
  writeFileSync(path, '{"auths":{"r.io":{auth:c2VjcmV0}}}');
  const error = await rejects(
    findCredentials(
      { configFiles: [path], inlineConfigs: [] },
      { registry: 'r.io', repository: 'x', purpose: 'pull' },
    ),
    'CONFIG_INVALID',
    /bad\.json" is not JSON: byte 18/,
  );
  assert.doesNotMatch(error.message, /c2VjcmV0/);
  assert.equal(jsonErrorOffset('{"a":[1,2,{"b":null}]} '), undefined);
  assert.equal(jsonErrorOffset('{"a":1,}'), 7);
  assert.equal(jsonErrorOffset(''), 0);
});

/** A helper on PATH, as people install them. */
function helper(name: string, script: string): void {
  const bin = join(bench.directory, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, `docker-credential-${name}`), 0o755);
  if (!process.env['PATH']?.startsWith(bin)) process.env['PATH'] = `${bin}:${process.env['PATH'] ?? ''}`;
}

function ask(
  config: object,
  registry: string,
  purpose: 'pull' | 'push' = 'pull',
  warnings: string[] = [],
): ReturnType<typeof findCredentials> {
  return findCredentials(
    { configFiles: [], inlineConfigs: [{ name: 'test', text: JSON.stringify(config) }] },
    { registry, repository: 'x', purpose, onWarning: (text) => void warnings.push(text) },
  );
}

test('C14: helpers are asked by the protocol, for a host before the store, without a line end', async () => {
  const log = join(bench.directory, 'log');
  helper(
    'good',
    `printf '%s' "$1 " >> ${log}; cat >> ${log}; printf '{"ServerURL":"x","Username":"ann","Secret":"s3"}'`,
  );
  helper('token', `cat >/dev/null; printf '{"ServerURL":"x","Username":"<token>","Secret":"idt"}'`);
  helper('none', `cat >/dev/null; echo 'credentials not found in native keychain'; exit 1`);
  helper('broken', `cat >/dev/null; echo 'no key of the vault'; exit 1`);
  const config = {
    credsStore: 'none',
    credHelpers: {
      'r.io': 'good',
      't.io': 'token',
      'docker.io': 'good',
      'b.io': 'broken',
      'gone.io': 'not-there',
    },
  };
  assert.equal((await ask(config, 'r.io'))?.password, 's3');
  assert.equal((await ask(config, 'docker.io'))?.username, 'ann');
  const { readFileSync } = await import('node:fs');
  assert.equal(readFileSync(log, 'utf8'), 'get r.ioget https://index.docker.io/v1/');
  assert.equal((await ask(config, 't.io'))?.identityToken, 'idt');
  assert.equal(await ask(config, 'other.io'), undefined);
  const warnings: string[] = [];
  assert.equal(await ask(config, 'gone.io', 'pull', warnings), undefined);
  assert.equal(await ask(config, 'b.io', 'pull', warnings), undefined);
  assert.match(warnings.join('\n'), /not installed[\s\S]*no key of the vault/);
  await rejects(ask(config, 'b.io', 'push'), 'REGISTRY_AUTH', /no key of the vault/);
  await rejects(
    ask({ credsStore: '../evil' }, 'r.io').then((found) => assert.ok(found)),
    'REGISTRY_AUTH',
  ).catch(() => undefined);
});

/** The client against a server of the test's own that misbehaves on purpose. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSocketServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { readRefusal } from '../../src/registry/registry-error.ts';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { collect } from '../../src/content/copy-image.ts';
import type { Descriptor } from '../../src/oci/documents.ts';
import type { Reference } from '../../src/oci/reference.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { createRegistry } from '../../src/registry/client.ts';
import { findCredentials, storeCredentials, type Found } from '../../src/registry/keychain.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { plainSettings } from '../../src/registry/settings.ts';
import { openBench, reference } from '../registry/fixture.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

let directory: string;
const servers: Server[] = [];
const registries: Registry[] = [];
let names = 0;
const host: Host = { now: () => Date.now(), unique: () => `1.1.${(names += 1)}` };
const signal = new AbortController().signal;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-registry-'));
});
afterEach(async () => {
  for (const registry of registries.splice(0)) await registry[Symbol.asyncDispose]();
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
  rmSync(directory, { recursive: true, force: true });
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => handler(request, response, Buffer.concat(chunks)));
    request.on('error', () => undefined);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function client(): Registry {
  const registry = createRegistry(
    { ...plainSettings(() => 0.01), configFiles: [join(directory, 'config.json')] },
    host,
  );
  registries.push(registry);
  return registry;
}

const CONTENT = Buffer.alloc(300_000, 'content ');
const BLOB: Descriptor = {
  mediaType: 'application/octet-stream',
  digest: digestOf(CONTENT),
  size: CONTENT.byteLength,
};
const repository = (registry: string): Reference => ({ registry, repository: 'team/app', tag: '1' });

async function pull(registry: string): Promise<Uint8Array> {
  return collect(client().source(repository(registry)).open(BLOB, { signal }));
}

function rejects(promise: Promise<unknown>, code: ErrorCode, message = /./): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(isTsbuildError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** `/v2/` answers, everything else is the handler's. */
const withPing =
  (handler: Handler): Handler =>
  (request, response, body) => {
    if (request.url === '/v2/') response.end('{}');
    else handler(request, response, body);
  };

test('a download that is cut goes on where it ended', async () => {
  const ranges: (string | undefined)[] = [];
  const registry = await serve(
    withPing((request, response) => {
      ranges.push(request.headers.range);
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from > 0 ? 206 : 200, {
        'content-length': CONTENT.byteLength - from,
        ...(from > 0 ? { 'content-range': `bytes ${from}-299999/300000` } : {}),
      });
      if (from > 0) response.end(CONTENT.subarray(from));
      else response.write(CONTENT.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20));
    }),
  );
  assert.deepEqual(await pull(registry), CONTENT);
  assert.deepEqual(ranges, [undefined, 'bytes=100000-']);
});

test('bytes that are not what the digest says are refused', async () => {
  const registry = await serve(
    withPing((_, response) => response.end(Buffer.alloc(CONTENT.byteLength, 'x'))),
  );
  await rejects(pull(registry), 'DIGEST_MISMATCH', /team\/app/);
  const longer = await serve(withPing((_, response) => response.end(Buffer.concat([CONTENT, CONTENT]))));
  await rejects(pull(longer), 'SIZE_MISMATCH');
});

test('busy answers are tried again, refusals are not', async () => {
  let asked = 0;
  const registry = await serve(
    withPing((_, response) => {
      asked += 1;
      if (asked < 3) response.writeHead(asked === 1 ? 503 : 429).end();
      else response.end(CONTENT);
    }),
  );
  assert.deepEqual(await pull(registry), CONTENT);
  assert.equal(asked, 3);
  let refusals = 0;
  const strict = await serve(
    withPing((_, response) => {
      refusals += 1;
      response.writeHead(403).end(JSON.stringify({ errors: [{ code: 'DENIED', message: 'not yours' }] }));
    }),
  );
  await rejects(pull(strict), 'REGISTRY_AUTH', /cannot pull from .* with status 403: DENIED: not yours/);
  assert.equal(refusals, 1);
});

test('a redirect to another host goes without credentials and with its query as it is', async () => {
  writeFileSync(join(directory, 'config.json'), '{}');
  const seen: { url: string | undefined; authorization: string | undefined }[] = [];
  const storage = await serve((request, response) => {
    seen.push({ url: request.url, authorization: request.headers.authorization });
    response.end(CONTENT);
  });
  const registry: string = await serve((request, response) => {
    if (request.headers.authorization === undefined)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    else if (request.url === '/v2/') response.end('{}');
    else response.writeHead(307, { location: `http://${storage}/b?sig=a%20b~(c)*` }).end();
  });
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({ auths: { [registry]: { auth: Buffer.from('u:p').toString('base64') } } }),
  );
  assert.deepEqual(await pull(registry), CONTENT);
  assert.deepEqual(seen, [{ url: '/b?sig=a%20b~(c)*', authorization: undefined }]);
});

test('a bearer token is fetched with our scope, kept, and fetched anew when it is refused', async () => {
  const scopes: (string | null)[] = [];
  let valid = 0;
  const registry: string = await serve((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    if (url.pathname === '/token') {
      scopes.push(url.searchParams.get('scope'));
      valid += 1;
      response.end(JSON.stringify({ token: `t${valid}`, expires_in: 300 }));
    } else if (request.headers.authorization !== `Bearer t${valid}` || valid === 0)
      response
        .writeHead(401, {
          'www-authenticate': `Bearer realm="http://${registry}/token",service="s",scope="repository:other:pull"`,
        })
        .end();
    else if (url.pathname === '/v2/') response.end('{}');
    else response.end(CONTENT);
  });
  const source = client().source(repository(registry));
  await collect(source.open(BLOB, { signal }));
  await collect(source.open(BLOB, { signal }));
  assert.deepEqual(scopes, ['repository:team/app:pull']);
  valid = 7;
  await collect(source.open(BLOB, { signal }));
  assert.equal(scopes.length, 2);
});

/** A registry that keeps blobs in memory. */
function uploads(faults: (request: IncomingMessage, response: ServerResponse, count: number) => boolean): {
  readonly handler: Handler;
  readonly stored: Map<string, Buffer>;
  readonly log: string[];
} {
  const stored = new Map<string, Buffer>();
  const log: string[] = [];
  let session = Buffer.alloc(0);
  const handler = withPing((request, response, body) => {
    log.push(`${request.method} ${(request.url ?? '').split('?')[0]}`);
    const digest = new URL(request.url ?? '', 'http://x').searchParams.get('digest');
    if (request.method === 'PUT' && digest !== null && !faults(request, response, log.length)) {
      const whole = Buffer.concat([session, body]);
      if (digestOf(whole) !== digest) return void response.writeHead(400).end();
      stored.set(digest, whole);
      return void response.writeHead(201).end();
    }
    if (response.writableEnded || response.destroyed) return;
    if (request.method === 'POST') {
      session = Buffer.alloc(0);
      response.writeHead(202, { location: '/upload/1?_state=a%2Bb~' }).end();
    } else if (request.method === 'PATCH') {
      session = Buffer.concat([session, body]);
      response.writeHead(202, { location: '/upload/2?_state=c' }).end();
    } else if (request.method === 'HEAD')
      response.writeHead(stored.has(request.url?.split('/').at(-1) ?? '') ? 200 : 404).end();
    else if (!response.headersSent) response.writeHead(500).end();
  });
  return { handler, stored, log };
}

async function push(registry: string): Promise<void> {
  async function* open(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < CONTENT.byteLength; at += 50_000)
      yield await Promise.resolve(CONTENT.subarray(at, at + 50_000));
  }
  await client().sink(repository(registry)).put(BLOB, open, { signal });
}

test('a blob is uploaded by one POST and one PUT', async () => {
  const { handler, stored, log } = uploads(() => false);
  await push(await serve(handler));
  assert.deepEqual(stored.get(BLOB.digest), CONTENT);
  assert.deepEqual(log, ['POST /v2/team/app/blobs/uploads/', 'PUT /upload/1']);
});

test('an upload whose answer was lost is not sent twice', async () => {
  let puts = 0;
  const made = uploads((request, response) => {
    puts += 1;
    const digest = new URL(request.url ?? '', 'http://x').searchParams.get('digest') ?? '';
    made.stored.set(digest, CONTENT);
    response.destroy();
    return true;
  });
  await push(await serve(made.handler));
  assert.equal(puts, 1);
});

test('a credential helper that fails does not make a password land in the file', async () => {
  const path = join(directory, 'config.json');
  writeFileSync(path, JSON.stringify({ credsStore: 'is-not-installed' }));
  await rejects(
    storeCredentials(path, 'r.io', { username: 'u', password: 'hidden' }, host),
    'CONFIG_INVALID',
    /docker-credential-is-not-installed/,
  );
  assert.doesNotMatch(readFileSync(path, 'utf8'), /auths/);
});

test('logout forgets every spelling of a registry', async () => {
  const path = join(directory, 'config.json');
  const entry = { auth: Buffer.from('u:p').toString('base64') };
  writeFileSync(
    path,
    JSON.stringify({
      auths: { 'https://r.io/v2/': entry, 'r.io': entry, 'r.io/team': entry, 'other.io': entry },
    }),
  );
  assert.ok(await storeCredentials(path, 'r.io', undefined, host));
  assert.deepEqual(Object.keys((JSON.parse(readFileSync(path, 'utf8')) as { auths: object }).auths), [
    'r.io/team',
    'other.io',
  ]);
});

test('a cut upload begins anew', async () => {
  let puts = 0;
  const { handler, stored } = uploads((_, response) => {
    puts += 1;
    if (puts > 1) return false;
    response.destroy();
    return true;
  });
  await push(await serve(handler));
  assert.equal(puts, 2);
  assert.deepEqual(stored.get(BLOB.digest), CONTENT);
});

test('a registry that nobody answers for is said to be unreachable', async () => {
  await rejects(
    client()
      .source({ registry: '127.0.0.1:1', repository: 'a' })
      .resolve({ registry: '127.0.0.1:1', repository: 'a', tag: '1' }, { signal }),
    'REGISTRY_UNREACHABLE',
    /127\.0\.0\.1:1/,
  );
});

test('challenges are parsed with quotes, commas and any case', () => {
  assert.deepEqual(
    parseChallenges(
      'Negotiate, BEARER realm="https://a/b",Service="x, y",scope="r:pull,push", Basic realm="q\\"q"',
    ).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]),
    [
      ['negotiate', {}],
      ['bearer', { realm: 'https://a/b', service: 'x, y', scope: 'r:pull,push' }],
      ['basic', { realm: 'q"q' }],
    ],
  );
  assert.deepEqual(parseChallenges(undefined), []);
  assert.deepEqual(parseChallenges('=='), []);
});

function find(
  configFiles: readonly string[],
  registry: string,
  repository: string,
): Promise<Found | undefined> {
  return findCredentials({ configFiles, inlineConfigs: [] }, { registry, repository, purpose: 'pull' });
}

test('credentials are found under the keys that people write', async () => {
  const path = join(directory, 'config.json');
  const auth = (text: string): { auth: string } => ({ auth: Buffer.from(text).toString('base64') });
  writeFileSync(
    path,
    JSON.stringify({
      auths: {
        'https://index.docker.io/v1/': auth('hub:p'),
        'r.io': auth('host:a:b\n'),
        'r.io/team': auth('team:t'),
        'https://v.io/v2/': auth('v:v'),
        'f.io': { username: 'u', password: 'p' },
        'i.io': { identitytoken: 'tok' },
      },
    }),
  );
  const user = async (registry: string, name = 'x'): Promise<string | undefined> =>
    (await find([join(directory, 'missing'), path], registry, name))?.username;
  assert.equal(await user('docker.io'), 'hub');
  assert.deepEqual(await find([path], 'r.io', 'x'), {
    username: 'host',
    password: 'a:b',
    from: path,
    isRenewable: false,
  });
  assert.equal(await user('r.io', 'team/app'), 'team');
  assert.equal(await user('v.io'), 'v');
  assert.equal(await user('f.io'), 'u');
  assert.equal((await find([path], 'i.io', 'x'))?.identityToken, 'tok');
  assert.equal(await user('r.io:5000'), undefined);
  writeFileSync(path, '{auths:');
  await rejects(find([path], 'r.io', 'x'), 'CONFIG_INVALID', /is not JSON/);
});

test('credentials are kept with the other fields, readable by their owner alone', async () => {
  const path = join(directory, 'deep/config.json');
  assert.ok(await storeCredentials(path, 'r.io', { username: 'u', password: 'p' }, host));
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, theme: 'dark' }));
  assert.ok(await storeCredentials(path, 'docker.io', { username: 'h', password: 'p' }, host));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const kept = JSON.parse(readFileSync(path, 'utf8')) as { theme: string; auths: Record<string, unknown> };
  assert.equal(kept.theme, 'dark');
  assert.deepEqual(Object.keys(kept.auths), ['r.io', 'https://index.docker.io/v1/']);
  assert.ok(await storeCredentials(path, 'r.io', undefined, host));
  assert.ok(!(await storeCredentials(path, 'r.io', undefined, host)));
});

test('the codes of a refusal are read from an answer that was damaged on its way', () => {
  const whole = '{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}';
  for (const body of [whole, `${whole}trailing`, whole.slice(0, -3)])
    assert.deepEqual(readRefusal(400, body).codes, ['DIGEST_INVALID']);
  assert.deepEqual(readRefusal(502, '<html><body>bad gateway</body></html>').codes, []);
});

test('a host that takes connections and says nothing is given up with the signal, and so is the connection', async () => {
  const sockets: Socket[] = [];
  const silent = createSocketServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
  });
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const { port } = silent.address() as AddressInfo;
  await using own = openBench();
  try {
    const timeouts = { connectMs: 60_000, idleMs: 60_000, answerMs: 60_000 };
    const source = own.client({ timeouts }).source(reference(`localhost:${port}`));
    const abort = new AbortController();
    const asked = source.resolve(reference(`localhost:${port}`), { signal: abort.signal });
    const connected = once(silent, 'connection');
    asked.catch(() => undefined);
    await connected;
    const started = Date.now();
    abort.abort();
    await rejects(asked, 'ABORTED');
    const [socket] = sockets;
    assert.ok(socket !== undefined);
    if (!socket.closed) await once(socket.resume(), 'close');
    assert.ok(Date.now() - started < 10_000, `it took ${Date.now() - started} ms`);
  } finally {
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

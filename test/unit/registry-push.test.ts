/** Pushing into the strict test registry: order, mounts, pieces, lost answers, tags. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { copyImage } from '../../src/content/copy-image.ts';
import { MEDIA_TYPES, type Descriptor } from '../../src/oci/documents.ts';
import {
  bytesOf,
  keep,
  makeImage,
  openBench,
  reference,
  rejects,
  signal,
  type Bench,
  type TestImage,
} from '../registry/fixture.ts';
import type { Fault } from '../registry/faults.ts';
import {
  startTestRegistry,
  type Seen,
  type TestRegistry,
  type TestRegistryOptions,
} from '../registry/test-registry.ts';
import type { Registry } from '../../src/registry/registry.ts';

let bench: Bench;
const started: TestRegistry[] = [];
beforeEach(() => {
  bench = openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  for (const each of started.splice(0)) {
    await each[Symbol.asyncDispose]();
    assert.deepEqual(each.violations, []);
  }
});

async function start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startTestRegistry(options);
  started.push(registry);
  return registry;
}

async function push(
  client: Registry,
  image: TestImage,
  registry: TestRegistry,
  tag = '1',
  repository = 'team/app',
): Promise<void> {
  keep(bench.store, image);
  const to = reference(registry.host, tag, repository);
  const sink = client.sink(to);
  await copyImage(image.root, bench.store, sink, bench.io);
  await sink.tag(to, image.root, bench.io);
}

function arrived(registry: TestRegistry, image: TestImage, tag = '1', repository = 'team/app'): void {
  const there = registry.state.repository(repository);
  for (const [digest, bytes] of image.blobs)
    assert.ok(there.blobs.get(digest)?.equals(bytes), `blob ${digest}`);
  assert.ok(there.manifests.get(image.root.digest)?.bytes.equals(image.manifest));
  assert.equal(there.tags.get(tag), image.root.digest);
}

/** The first request that fits meets the fault. */
function onFirst(
  fits: (seen: Seen) => boolean,
  fault: Fault,
  times = 1,
): NonNullable<TestRegistryOptions['fault']> {
  let left = times;
  return (seen) => {
    if (left === 0 || !fits(seen)) return undefined;
    left -= 1;
    return fault;
  };
}

const isBlobPut = ({ method, url }: Seen): boolean => method === 'PUT' && url.includes('/blobs/');

test('C10: HEAD, POST, one PUT with everything, manifests after blobs, the tag last', async () => {
  const registry = await start();
  const image = makeImage([1000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
  const calls = registry.calls();
  assert.deepEqual(calls.slice(-3), [
    `PUT /v2/team/app/manifests/${image.root.digest}`,
    'HEAD /v2/team/app/manifests/1',
    'PUT /v2/team/app/manifests/1',
  ]);
  assert.equal(registry.calls('POST').length, 2);
  assert.equal(registry.calls('PATCH').length, 0);
});

test('C10: what is there is not sent again', async () => {
  const registry = await start();
  const image = makeImage([1000, 2000]);
  const client = bench.client();
  await push(client, image, registry);
  await push(bench.client(), image, registry, '2');
  assert.equal(registry.calls('POST').length, 3);
});

test('C10: a blob of another repository of the registry is mounted, with both scopes', async () => {
  const registry = await start();
  const image = makeImage([1000]);
  const client = bench.client();
  await push(client, image, registry);
  await push(client, image, registry, '1', 'other/app');
  arrived(registry, image, '1', 'other/app');
  const mounts = registry.log.filter(({ url }) => url.includes('mount='));
  assert.equal(mounts.length, 2);
  assert.ok(mounts.every(({ url, status }) => url.includes('from=team%2Fapp') && status === 201));
});

for (const status of [400, 401, 403, 404, 405, 500])
  test(`C10: a mount that is answered with ${status} becomes an upload`, async () => {
    const registry = await start({
      fault: ({ url }) => (url.includes('mount=') ? { kind: 'status', status } : undefined),
    });
    const image = makeImage([1000]);
    const client = bench.client();
    await push(client, image, registry);
    await push(client, image, registry, '1', 'other/app');
    arrived(registry, image, '1', 'other/app');
  });

test('C10: an upload that was begun instead of a mount is used', async () => {
  const registry = await start({ mounts: false });
  const image = makeImage([1000]);
  const client = bench.client();
  await push(client, image, registry);
  await push(client, image, registry, '1', 'other/app');
  arrived(registry, image, '1', 'other/app');
  assert.equal(registry.calls('POST').length, 4);
});

for (const location of ['relative', 'absolute'] as const)
  test(`C10: a ${location} Location is used byte for byte`, async () => {
    const registry = await start({ location });
    const image = makeImage([1000]);
    await push(bench.client(), image, registry);
    arrived(registry, image);
  });

test('C6: an upload elsewhere goes without credentials', async () => {
  const storage = await start();
  const registry = await start({
    location: 'elsewhere',
    storage: storage.origin,
    authorize: ({ headers }) =>
      headers.authorization === undefined ? { status: 401, challenge: 'Basic realm="r"' } : undefined,
  });
  const client = bench.client({
    inlineConfigs: [
      {
        name: 'test',
        text: JSON.stringify({ auths: { [registry.host]: { username: 'u', password: 'p' } } }),
      },
    ],
  });
  const blob = bytesOf(1000, 1);
  const digest = digestOf(blob);
  await rejects(
    client
      .sink(reference(registry.host))
      .put({ mediaType: 'x', digest, size: 1000 }, () => once(blob), bench.io),
    'REGISTRY_REFUSED',
  ).catch(() => undefined);
  const puts = storage.log.filter(({ method }) => method === 'PUT');
  assert.ok(puts.length > 0);
  assert.ok(puts.every(({ headers }) => headers.authorization === undefined));
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

test('C10: 413 makes pieces, smaller and smaller, of which all arrive', async () => {
  const registry = await start({ maxBody: 2_500_000 });
  const image = makeImage([9_000_000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
  const pieces = registry.log.filter(({ method, status }) => method === 'PATCH' && status === 202);
  assert.ok(pieces.length >= 3);
  assert.ok(pieces.every(({ headers }) => Number(headers['content-length']) <= 2_500_000));
});

test('C10: 413 for everything is said with its status', async () => {
  const registry = await start({ maxBody: 1000 });
  await rejects(
    push(bench.client(), makeImage([2_000_000]), registry),
    'REGISTRY_REFUSED',
    /413: 413 Request Entity Too Large/,
  );
});

test('C10: pieces are no smaller than the registry wants, except the last', async () => {
  const registry = await start({ minChunk: 700_000 });
  const image = makeImage([1_600_000]);
  const client = bench.client({ chunkSize: 300_000 });
  await push(client, image, registry);
  arrived(registry, image);
  assert.equal(registry.calls('PATCH').length, 2);
});

for (const range of [undefined, '0-299999', '0--1', 'nonsense', '0-0'])
  test(`C10: pieces go on where a registry says Range ${String(range)} each time`, async () => {
    const registry = await start({
      fault: ({ method }) => (method === 'PATCH' ? { kind: 'headers', set: { range } } : undefined),
    });
    const image = makeImage([1_000_000]);
    await push(bench.client({ chunkSize: 300_000 }), image, registry);
    arrived(registry, image);
  });

test('C11: an upload whose answer was lost is not sent again', async () => {
  const registry = await start({ fault: onFirst(isBlobPut, { kind: 'lose-answer' }) });
  const image = makeImage([50_000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
  assert.equal(registry.log.filter(isBlobPut).length, 2);
});

test('C11: an upload that was cut begins anew, and one that is cut twice goes in pieces', async () => {
  const registry = await start({ fault: onFirst(isBlobPut, { kind: 'cut-request', after: 100_000 }, 1) });
  const image = makeImage([300_000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
  const big = makeImage([20_000_000], 2);
  const stubborn = await start({
    fault: ({ headers, method }) =>
      method === 'PUT' && Number(headers['content-length']) > 10_000_000
        ? { kind: 'cut-request', after: 9_000_000 }
        : undefined,
  });
  await push(bench.client(), big, stubborn);
  arrived(stubborn, big);
  assert.ok(stubborn.calls('PATCH').length >= 2);
});

for (const kind of ['lose-answer', 'cut-request', 'drop'] as const)
  test(`C11: a piece that meets ${kind} costs the blob once more at most`, async () => {
    const fault: Fault = kind === 'cut-request' ? { kind, after: 10_000 } : { kind };
    let seen = 0;
    const registry = await start({
      fault: ({ method }) => (method === 'PATCH' && (seen += 1) === 2 ? fault : undefined),
    });
    const image = makeImage([1_000_000]);
    await push(bench.client({ chunkSize: 300_000 }), image, registry);
    arrived(registry, image);
    assert.ok(registry.calls('PATCH').length <= 5, String(registry.calls('PATCH').length));
  });

test('C11: a lost session is replaced', async () => {
  const registry = await start({
    fault: onFirst(isBlobPut, {
      kind: 'status',
      status: 404,
      body: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}',
    }),
  });
  const image = makeImage([50_000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
});

test('C12: 429 with Retry-After is waited for, 503 is tried again', async () => {
  const registry = await start({
    fault: onFirst(({ method }) => method === 'POST', {
      kind: 'status',
      status: 429,
      headers: { 'retry-after': '1' },
    }),
  });
  const image = makeImage([1000]);
  const before = Date.now();
  await push(bench.client(), image, registry);
  assert.ok(Date.now() - before >= 990);
  arrived(registry, image);
  const other = await start({ fault: onFirst(isBlobPut, { kind: 'status', status: 503 }, 2) });
  await push(bench.client(), image, other);
  arrived(other, image);
});

test('C11: bytes that were damaged on their way are sent once more, then it is said', async () => {
  const registry = await start({ fault: onFirst(isBlobPut, { kind: 'corrupt-request' }) });
  const image = makeImage([1000]);
  await push(bench.client(), image, registry);
  arrived(registry, image);
  const bad = await start({ fault: (seen) => (isBlobPut(seen) ? { kind: 'corrupt-request' } : undefined) });
  await rejects(push(bench.client(), image, bad), 'DIGEST_MISMATCH', /did not match/);
});

test('C11: blobs that a registry has lost are uploaded again once', async () => {
  const registry = await start();
  const image = makeImage([1000, 2000]);
  await push(bench.client(), image, registry);
  const there = registry.state.repository('team/app');
  const [lost = ''] = image.layers.map(({ digest }) => digest);
  there.manifests.clear();
  let forgotten = false;
  const flaky = await start({
    fault: ({ method, url }) => {
      if (method === 'PUT' && url.includes('/manifests/') && !forgotten) {
        forgotten = true;
        flaky.state.repository('team/app').blobs.delete(lost);
      }
      return undefined;
    },
  });
  await push(bench.client(), image, flaky);
  arrived(flaky, image);
});

test('C19: what has a subject is pushed after it', async () => {
  const registry = await start({ checksReferences: true });
  const image = makeImage([1000]);
  keep(bench.store, image);
  const empty = Buffer.from('{}');
  const config: Descriptor = { mediaType: MEDIA_TYPES.empty, digest: digestOf(empty), size: 2 };
  bench.store.write(empty);
  const attestation = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      artifactType: 'application/x',
      config,
      layers: [config],
      subject: image.root,
    }),
  );
  const described = { mediaType: MEDIA_TYPES.manifest, ...bench.store.write(attestation) };
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [described, { ...image.root, platform: { os: 'linux', architecture: 'amd64' } }],
    }),
  );
  const root = { mediaType: MEDIA_TYPES.index, ...bench.store.write(index) };
  const to = reference(registry.host);
  const sink = bench.client().sink(to);
  await copyImage(root, bench.store, sink, bench.io);
  await sink.tag(to, root, bench.io);
  const puts = registry.calls('PUT').filter((call) => call.includes('/manifests/'));
  assert.deepEqual(
    puts.map((call) => call.split('/').at(-1)),
    [image.root.digest, described.digest, root.digest, '1'],
  );
});

test('C20: an immutable tag is fine with the same image, and an error with another', async () => {
  const registry = await start({ immutableTags: true });
  const image = makeImage([1000]);
  await push(bench.client(), image, registry);
  await push(bench.client(), image, registry);
  const error = await rejects(
    push(bench.client(), makeImage([1000], 2), registry),
    'REGISTRY_REFUSED',
    /cannot be overwritten/,
  );
  assert.match(error.hint ?? '', /another tag/);
});

test('C20: several tags and repositories at once send every blob once', async () => {
  const registry = await start();
  const image = makeImage([400_000]);
  keep(bench.store, image);
  const client = bench.client();
  await Promise.all([
    push(client, image, registry, '1'),
    push(client, image, registry, '2'),
    push(client, image, registry, '1', 'b/c'),
  ]);
  arrived(registry, image, '2');
  arrived(registry, image, '1', 'b/c');
  assert.equal(registry.log.filter(isBlobPut).length, 2);
});

test('C23: an upload that is given up is ended at the registry', async () => {
  const registry = await start({
    fault: (seen) => (isBlobPut(seen) ? { kind: 'status', status: 403, body: 'no' } : undefined),
  });
  await rejects(push(bench.client(), makeImage([1000]), registry), 'REGISTRY_AUTH');
  assert.equal(registry.state.sessions.size, 0);
});

test('C23: an abort ends the upload and its session', async () => {
  const abort = new AbortController();
  const registry = await start({
    fault: (seen) => {
      if (!isBlobPut(seen)) return undefined;
      setTimeout(() => abort.abort(), 20);
      return { kind: 'hang' };
    },
  });
  const blob = bytesOf(1000, 3);
  await rejects(
    bench
      .client()
      .sink(reference(registry.host))
      .put({ mediaType: 'x', digest: digestOf(blob), size: 1000 }, () => once(blob), {
        signal: abort.signal,
      }),
    'ABORTED',
  );
  assert.equal(registry.state.sessions.size, 0);
});

test('C10: an empty blob is uploaded without a body', async () => {
  const registry = await start();
  const empty = digestOf('');
  await bench
    .client()
    .sink(reference(registry.host))
    .put({ mediaType: 'x', digest: empty, size: 0 }, () => once(new Uint8Array()), { signal });
  assert.equal(registry.state.repository('team/app').blobs.get(empty)?.byteLength, 0);
});

test('permission to push is asked for without leaving a session', async () => {
  const registry = await start();
  await bench.client().sink(reference(registry.host)).checkPush({ signal });
  assert.deepEqual(registry.calls(), [
    'POST /v2/team/app/blobs/uploads/',
    'DELETE /v2/team/app/blobs/uploads/u1',
  ]);
  const refusing = await start({
    fault: () => ({
      kind: 'status',
      status: 403,
      body: '{"errors":[{"code":"DENIED","message":"push access denied"}]}',
    }),
  });
  await rejects(
    bench.client().sink(reference(refusing.host)).checkPush({ signal }),
    'REGISTRY_AUTH',
    /push to .*asking for permission.*"team\/app".*403: DENIED: push access denied/,
  );
});

test('a manifest that is stored as another one is an error', async () => {
  const registry = await start({
    fault: ({ method, url }) =>
      method === 'PUT' && url.includes('/manifests/')
        ? { kind: 'headers', set: { 'docker-content-digest': digestOf('x') } }
        : undefined,
  });
  await rejects(push(bench.client(), makeImage([10]), registry), 'DIGEST_MISMATCH', /stored as/);
});

test('a page instead of an answer is said to be none', async () => {
  const registry = await start({
    fault: ({ method }) =>
      method === 'HEAD'
        ? { kind: 'status', status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } }
        : undefined,
  });
  await rejects(
    push(bench.client(), makeImage([10]), registry),
    'REGISTRY_PROTOCOL',
    /not a registry's answer \(text\/html\)/,
  );
});

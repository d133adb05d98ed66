/** Pulling from the strict test registry: by digest, verified, resumed, from mirrors. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { collect, copyImage } from '../../src/content/copy-image.ts';
import { MEDIA_TYPES, type Descriptor } from '../../src/oci/documents.ts';
import type { Registry } from '../../src/registry/registry.ts';
import type { RegistryRule } from '../../src/registry/rules.ts';
import { parseLocation } from '../../src/registry/rules.ts';
import type { Fault } from '../registry/faults.ts';
import {
  bytesOf,
  makeImage,
  openBench,
  reference,
  rejects,
  signal,
  type Bench,
  type TestImage,
} from '../registry/fixture.ts';
import {
  startTestRegistry,
  type Seen,
  type TestRegistry,
  type TestRegistryOptions,
} from '../registry/test-registry.ts';

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

function hold(registry: TestRegistry, image: TestImage, tag = '1', repository = 'team/app'): void {
  const there = registry.state.repository(repository);
  for (const [digest, bytes] of image.blobs) there.blobs.set(digest, bytes);
  there.manifests.set(image.root.digest, { bytes: image.manifest, type: image.root.mediaType });
  there.tags.set(tag, image.root.digest);
}

function holdManifest(registry: TestRegistry, bytes: Buffer, type: string, tag?: string): Descriptor {
  const there = registry.state.repository('team/app');
  const digest = digestOf(bytes);
  there.manifests.set(digest, { bytes, type });
  if (tag !== undefined) there.tags.set(tag, digest);
  return { mediaType: type, digest, size: bytes.byteLength };
}

async function pull(client: Registry, host: string, tag = '1', repository = 'team/app'): Promise<Descriptor> {
  const from = reference(host, tag, repository);
  const source = client.source(from);
  const root = await source.resolve(from, bench.io);
  await copyImage(root, source, bench.store, bench.io);
  return root;
}

function stored(image: TestImage): void {
  for (const [digest, bytes] of image.blobs)
    assert.equal(bench.store.size(digest as Descriptor['digest']), bytes.byteLength, digest);
}

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

const isBlob = ({ method, url }: Seen): boolean => method === 'GET' && url.includes('/blobs/');
const isManifest = ({ method, url }: Seen): boolean => method === 'GET' && url.includes('/manifests/');

test('C1 C2: a tag is resolved by HEAD, everything else is asked for by digest', async () => {
  const registry = await start();
  const image = makeImage([1000, 2000]);
  hold(registry, image);
  assert.deepEqual(await pull(bench.client(), registry.host), image.root);
  stored(image);
  const calls = registry.calls();
  assert.equal(calls[0], 'HEAD /v2/team/app/manifests/1');
  assert.equal(calls[1], `GET /v2/team/app/manifests/${image.root.digest}`);
  assert.ok(calls.slice(1).every((call) => call.includes('sha256:')));
});

test('C2: a tag that moves meanwhile does not mix two images', async () => {
  const image = makeImage([1000]);
  const other = makeImage([1000], 2);
  let moved = false;
  const registry: TestRegistry = await start({
    fault: (seen) => {
      if (!moved && seen.method === 'GET') {
        moved = true;
        hold(registry, other);
      }
      return undefined;
    },
  });
  hold(registry, image);
  assert.deepEqual(await pull(bench.client(), registry.host), image.root);
  stored(image);
});

test('C1: HEAD without digest or length is followed by GET', async () => {
  for (const set of [
    { 'docker-content-digest': undefined },
    { 'content-length': undefined },
    { 'content-type': 'text/plain' },
  ]) {
    const registry = await start({
      fault: ({ method }) => (method === 'HEAD' ? { kind: 'headers', set } : undefined),
    });
    const image = makeImage([10]);
    hold(registry, image);
    assert.deepEqual(await pull(bench.client(), registry.host), image.root);
  }
});

test('C1: a refused HEAD is followed by GET, which says why', async () => {
  const registry = await start({
    fault: ({ method }) => ({
      kind: 'status',
      status: 403,
      body: method === 'HEAD' ? '' : '{"errors":[{"code":"DENIED","message":"not yours"}]}',
    }),
  });
  const error = await rejects(
    pull(bench.client(), registry.host),
    'REGISTRY_AUTH',
    /cannot pull from .*fetching manifest 1 of "team\/app" failed with status 403: DENIED: not yours/,
  );
  assert.match(error.hint ?? '', /account/);
});

test('C3: a manifest with another digest is refused', async () => {
  const image = makeImage([10]);
  const registry = await start({ fault: (seen) => (isManifest(seen) ? { kind: 'corrupt' } : undefined) });
  hold(registry, image);
  await rejects(pull(bench.client(), registry.host), 'DIGEST_MISMATCH');
  const lying = await start({
    fault: ({ url }) =>
      url.includes('/manifests/')
        ? { kind: 'headers', set: { 'docker-content-digest': digestOf('x') } }
        : undefined,
  });
  hold(lying, image);
  await rejects(pull(bench.client(), lying.host), 'REGISTRY_NOT_FOUND');
  const lyingByTag = await start({
    fault: ({ url, method }) =>
      method === 'HEAD'
        ? { kind: 'status', status: 405 }
        : url.includes('/manifests/')
          ? { kind: 'headers', set: { 'docker-content-digest': digestOf('x') } }
          : undefined,
  });
  hold(lyingByTag, image);
  await rejects(pull(bench.client(), lyingByTag.host), 'DIGEST_MISMATCH');
});

test('C3: a manifest that says it is something else than its Content-Type is refused', async () => {
  const registry = await start({
    fault: ({ url }) =>
      url.includes('/manifests/')
        ? { kind: 'headers', set: { 'content-type': MEDIA_TYPES.dockerManifest } }
        : undefined,
  });
  hold(registry, makeImage([10]));
  await rejects(pull(bench.client(), registry.host), 'REGISTRY_PROTOCOL', /says that it is/);
});

test('C3: schema 1 and ambiguous documents are refused by name', async () => {
  const registry = await start();
  holdManifest(registry, Buffer.from('{"schemaVersion":1,"fsLayers":[]}'), MEDIA_TYPES.dockerManifest, 'one');
  await rejects(pull(bench.client(), registry.host, 'one'), 'IMAGE_INVALID', /schema 1/);
  holdManifest(
    registry,
    Buffer.from('{"schemaVersion":2,"manifests":[],"layers":[]}'),
    MEDIA_TYPES.index,
    'both',
  );
  await rejects(pull(bench.client(), registry.host, 'both'), 'IMAGE_INVALID', /ambiguous/);
});

test('C3: a manifest that a proxy compressed is read if it is the one that was meant', async () => {
  const image = makeImage([10]);
  const registry = await start({
    fault: (seen) =>
      isManifest(seen)
        ? {
            kind: 'status',
            status: 200,
            headers: { 'content-type': image.root.mediaType, 'content-encoding': 'br' },
          }
        : undefined,
  });
  hold(registry, image);
  await rejects(pull(bench.client(), registry.host), 'REGISTRY_PROTOCOL', /encoded as "br"/);
  const zipped = await start();
  hold(zipped, image);
  const there = zipped.state.repository('team/app');
  const packed = gzipSync(image.manifest);
  there.manifests.set(image.root.digest, { bytes: packed, type: image.root.mediaType });
  const client = bench.client();
  const source = client.source(reference(zipped.host));
  await rejects(collect(source.open(image.root, { signal })), 'DIGEST_MISMATCH');
});

for (const kind of ['corrupt', 'extra', 'truncate', 'cut-answer', 'slow', 'drop'] as const)
  test(`C4: a blob that meets ${kind} once arrives whole`, async () => {
    const fault: Fault =
      kind === 'truncate' || kind === 'cut-answer'
        ? { kind, after: 700 }
        : kind === 'slow'
          ? { kind, delayMs: 30 }
          : { kind };
    const registry = await start({ fault: onFirst(isBlob, fault) });
    const image = makeImage([2000]);
    hold(registry, image);
    await pull(bench.client(), registry.host);
    stored(image);
    assert.ok(registry.log.filter(isBlob).length <= 3);
  });

for (const kind of ['corrupt', 'extra'] as const)
  test(`C4: a blob that is always ${kind} never enters the store`, async () => {
    const registry = await start({ fault: (seen) => (isBlob(seen) ? { kind } : undefined) });
    const image = makeImage([2000]);
    hold(registry, image);
    await rejects(
      pull(bench.client(), registry.host),
      kind === 'corrupt' ? 'DIGEST_MISMATCH' : 'SIZE_MISMATCH',
      /came damaged twice/,
    );
    assert.deepEqual([...bench.store.list()], []);
  });

test('C5: a cut blob goes on by Range', async () => {
  const registry = await start({ fault: onFirst(isBlob, { kind: 'cut-answer', after: 1_000_000 }) });
  const layer = bytesOf(3_000_000, 5);
  const blob = { mediaType: 'x', digest: digestOf(layer), size: layer.byteLength };
  registry.state.repository('team/app').blobs.set(blob.digest, layer);
  const bytes = await collect(bench.client().source(reference(registry.host)).open(blob, bench.io));
  assert.ok(layer.equals(bytes));
  const ranges = registry.log.map(({ headers }) => headers.range);
  assert.equal(ranges.length, 2);
  assert.match(ranges[1] ?? '', /^bytes=\d+-$/);
  assert.equal(bench.notices.filter(({ kind }) => kind === 'retry').length, 1);
});

test('C5: where Range is ignored or wrong, the beginning is passed over', async () => {
  const layer = bytesOf(300_000, 6);
  const blob = { mediaType: 'x', digest: digestOf(layer), size: layer.byteLength };
  for (const wrong of [
    'bytes 0-299999/300000',
    'bytes 100-299999/300000',
    'bytes 100000-299999/400000',
    undefined,
  ]) {
    let asked = 0;
    const registry = await start({
      fault: (seen) => {
        asked += 1;
        if (asked === 1) return { kind: 'cut-answer', after: 100_000 };
        return seen.headers.range === undefined
          ? undefined
          : { kind: 'headers', set: { 'content-range': wrong } };
      },
    });
    registry.state.repository('team/app').blobs.set(blob.digest, layer);
    assert.ok(
      layer.equals(await collect(bench.client().source(reference(registry.host)).open(blob, bench.io))),
    );
  }
});

test('C5: a blob that is cut again and again is given up, and is said so', async () => {
  const registry = await start({
    fault: (seen) => (isBlob(seen) ? { kind: 'cut-answer', after: 10 } : undefined),
  });
  hold(registry, makeImage([2000]));
  await rejects(pull(bench.client(), registry.host), 'REGISTRY_UNREACHABLE', /ends after \d+ of \d+ bytes/);
});

test('C6: a redirect to a storage carries no credentials, and its query as it is', async () => {
  const urls: string[] = [];
  const image = makeImage([1000]);
  const storage = await startTestRegistry({
    fault: (seen) => {
      urls.push(seen.url);
      assert.equal(seen.headers.authorization, undefined);
      const digest = /sha256:[0-9a-f]{64}/.exec(seen.url)?.[0] ?? '';
      return { kind: 'status', status: 200, body: image.blobs.get(digest)?.toString('latin1') ?? '' };
    },
  });
  started.push(storage);
  const registry = await start({
    storage: storage.origin,
    authorize: ({ headers }) =>
      headers.authorization === undefined ? { status: 401, challenge: 'Basic realm="r"' } : undefined,
  });
  hold(registry, image);
  const client = bench.client({
    inlineConfigs: [
      {
        name: 'test',
        text: JSON.stringify({ auths: { [registry.host]: { username: 'u', password: 'p' } } }),
      },
    ],
  });
  const source = client.source(reference(registry.host));
  await collect(source.open(image.layers[0] ?? image.root, { signal })).catch(() => undefined);
  assert.ok(urls.length > 0);
  assert.ok(
    urls.every((url) => url.endsWith("?X-Amz-Signature=a%2Fb~(c)*'%20")),
    urls[0],
  );
});

test('C9: an index in an index, layers that repeat, empty layers, and unknown members survive', async () => {
  const registry = await start();
  const image = makeImage([500, 0]);
  hold(registry, image);
  const inner = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [image.root, { mediaType: 'application/unknown+json', digest: digestOf('?'), size: 1 }],
      'x-inner': true,
    }),
  );
  const innerRoot = holdManifest(registry, inner, MEDIA_TYPES.index);
  const outer = Buffer.from(
    JSON.stringify(
      { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [innerRoot], 'x-outer': [1, 2] },
      null,
      2,
    ),
  );
  const root = holdManifest(registry, outer, MEDIA_TYPES.index, 'nested');
  await pull(bench.client(), registry.host, 'nested');
  assert.ok(outer.equals(await bench.store.read(root.digest, 1 << 20)));
  const target = await start();
  const to = reference(target.host);
  const sink = bench.client().sink(to);
  await copyImage(root, bench.store, sink, bench.io);
  await sink.tag(to, root, bench.io);
  assert.ok(target.state.repository('team/app').manifests.get(root.digest)?.bytes.equals(outer));
  assert.ok(
    target.state.repository('team/app').manifests.get(image.root.digest)?.bytes.equals(image.manifest),
  );
});

test('C9: what an index lists of unknown kinds is copied as bytes, and checked, where the source has it', async () => {
  const registry = await start();
  const image = makeImage([500]);
  hold(registry, image);
  const other = Buffer.from('{"kind":"nobody knows"}');
  const there = {
    mediaType: 'application/vnd.example.unknown+json',
    digest: digestOf(other),
    size: other.byteLength,
  };
  const absent = { ...there, digest: digestOf('absent'), size: 6 };
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [there, image.root, absent] };
  const bytes = Buffer.from(JSON.stringify(document));
  const root = holdManifest(registry, bytes, MEDIA_TYPES.index, 'mixed');
  const { blobs } = registry.state.repository('team/app');
  blobs.set(there.digest, Buffer.from('{"kind":"somebody lied"}').subarray(0, other.byteLength));
  await rejects(pull(bench.client(), registry.host, 'mixed'), 'DIGEST_MISMATCH');
  blobs.set(there.digest, other);
  await pull(bench.client(), registry.host, 'mixed');
  assert.ok(other.equals(await bench.store.read(there.digest, 1 << 20)));
  const target = await start();
  await copyImage(root, bench.store, bench.client().sink(reference(target.host)), bench.io);
  const arrived = target.state.repository('team/app');
  assert.ok(arrived.manifests.get(root.digest)?.bytes.equals(bytes));
  assert.ok(arrived.blobs.get(there.digest)?.equals(other));
  assert.ok(!arrived.blobs.has(absent.digest));
  assert.deepEqual(target.violations, []);
});

test('C17: what is named by sha512 is pulled, verified and pushed by sha512', async () => {
  const registry = await start();
  const image = makeImage([700]);
  const like = `sha512:${'0'.repeat(128)}` as Descriptor['digest'];
  const document = JSON.parse(image.manifest.toString()) as { layers: Descriptor[] };
  const layer = image.blobs.get(image.layers[0]?.digest ?? '') ?? Buffer.alloc(0);
  const blob = { ...image.layers[0], digest: digestOf(layer, like) };
  const bytes = Buffer.from(JSON.stringify({ ...document, layers: [blob] }));
  const digest = digestOf(bytes, like);
  const { blobs, manifests } = registry.state.repository('team/app');
  for (const [name, content] of image.blobs) blobs.set(name, content);
  blobs.set(blob.digest, bytesOf(layer.byteLength, 999));
  manifests.set(digest, { bytes, type: MEDIA_TYPES.manifest });
  const from = { registry: registry.host, repository: 'team/app', digest };
  const pullIt = async (): Promise<Descriptor> => {
    const source = bench.client().source(from);
    const root = await source.resolve(from, bench.io);
    await copyImage(root, source, bench.store, bench.io);
    return root;
  };
  await rejects(pullIt(), 'DIGEST_MISMATCH');
  blobs.set(blob.digest, layer);
  const root = await pullIt();
  assert.equal(root.digest, digest);
  assert.ok([...bench.store.list()].includes(blob.digest));
  const target = await start();
  const to = reference(target.host);
  const sink = bench.client().sink(to);
  await copyImage(root, bench.store, sink, bench.io);
  await sink.tag(to, root, bench.io);
  const arrived = target.state.repository('team/app');
  assert.ok(arrived.manifests.get(digest)?.bytes.equals(bytes));
  assert.ok(arrived.blobs.get(blob.digest)?.equals(layer));
  manifests.set(digest, { bytes: Buffer.concat([bytes, Buffer.from(' ')]), type: MEDIA_TYPES.manifest });
  await rejects(collect(bench.client().source(from).open(root, bench.io)), 'DIGEST_MISMATCH');
  assert.deepEqual([...registry.violations, ...target.violations], []);
});

test('C9: an empty blob is not asked for at all', async () => {
  const registry = await start();
  const blob = { mediaType: 'x', digest: digestOf(''), size: 0 };
  assert.equal(
    (await collect(bench.client().source(reference(registry.host)).open(blob, bench.io))).byteLength,
    0,
  );
  assert.deepEqual(registry.calls(), []);
});

test('C9: data inside a descriptor is used, if it is what the digest says', async () => {
  const registry = await start();
  const source = bench.client().source(reference(registry.host));
  const blob = { mediaType: 'x', digest: digestOf('{}'), size: 2, data: 'e30=' };
  assert.equal(Buffer.from(await collect(source.open(blob, bench.io))).toString(), '{}');
  assert.deepEqual(registry.calls(), []);
  await rejects(collect(source.open({ ...blob, data: 'eHg=' }, bench.io)), 'REGISTRY_NOT_FOUND');
});

test('C12: 429, 503 and a stalled answer are tried again, a refusal is not', async () => {
  const image = makeImage([2000]);
  for (const fault of [
    { kind: 'status', status: 503 },
    { kind: 'status', status: 429, headers: { 'retry-after': 'garbage' } },
    { kind: 'hang' },
  ] as const) {
    const registry = await start({ fault: onFirst(isBlob, fault, 2) });
    hold(registry, image);
    await pull(bench.client(), registry.host);
    stored(image);
    for (const digest of bench.store.list()) bench.store.remove(digest);
  }
  const strict = await start({
    fault: (seen) => (isBlob(seen) ? { kind: 'status', status: 403 } : undefined),
  });
  hold(strict, image);
  await rejects(pull(bench.client(), strict.host), 'REGISTRY_AUTH');
});

test('C12: Retry-After holds every request to the host', async () => {
  const registry = await start({
    fault: onFirst(isBlob, { kind: 'status', status: 429, headers: { 'retry-after': '1' } }),
  });
  hold(registry, makeImage([1000, 1000, 1000]));
  const began = Date.now();
  await pull(bench.client(), registry.host);
  assert.ok(Date.now() - began >= 990);
  assert.ok(bench.notices.some((notice) => notice.kind === 'retry' && notice.waitMs === 1000));
});

test('C12: a pull limit is not waited for forever, and the error says what helps', async () => {
  const registry = await start({
    fault: () => ({
      kind: 'status',
      status: 429,
      headers: { 'retry-after': '3600' },
      body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}',
    }),
  });
  const error = await rejects(pull(bench.client(), registry.host), 'REGISTRY_REFUSED', /429/);
  assert.match(error.hint ?? '', /log in/);
});

test('C21: a warning of the registry is told once', async () => {
  const registry = await start({
    fault: () => ({ kind: 'headers', set: { warning: '299 - "this \\"tag\\" is going away"' } }),
  });
  hold(registry, makeImage([10, 20]));
  await pull(bench.client(), registry.host);
  assert.deepEqual(
    bench.notices.flatMap((notice) => (notice.kind === 'warning' ? [notice.text] : [])),
    ['this "tag" is going away'],
  );
});

test('C24: a foreign layer comes from its own address, without credentials', async () => {
  const layer = bytesOf(1000, 9);
  const elsewhere = await startTestRegistry({
    fault: ({ headers }) => {
      assert.equal(headers.authorization, undefined);
      return undefined;
    },
  });
  started.push(elsewhere);
  elsewhere.state.repository('x').blobs.set(digestOf(layer), layer);
  const registry = await start();
  const blob = {
    mediaType: MEDIA_TYPES.foreignLayerGzip,
    digest: digestOf(layer),
    size: 1000,
    urls: [`${elsewhere.origin}/v2/x/blobs/${digestOf(layer)}`],
  };
  assert.ok(
    layer.equals(await collect(bench.client().source(reference(registry.host)).open(blob, bench.io))),
  );
  assert.deepEqual(registry.calls(), [`GET /v2/team/app/blobs/${digestOf(layer)}`]);
});

function mirrored(
  host: string,
  more: Partial<RegistryRule> = {},
  pulls: 'all' | 'digest-only' | 'tag-only' = 'all',
): () => Promise<readonly RegistryRule[]> {
  const mirror = parseLocation(`http://${host}`);
  assert.ok(mirror !== undefined);
  return () =>
    Promise.resolve([{ origin: 'test', prefix: 'r.example', mirrors: [{ ...mirror, pulls }], ...more }]);
}

test('C16: a mirror is asked first, told whose images they are, and left for the registry where it fails', async () => {
  const image = makeImage([1000]);
  const mirror = await start();
  hold(mirror, image);
  const registry = await start();
  hold(registry, image);
  const primary = parseLocation(`http://${registry.host}`);
  await pull(bench.client({ rules: mirrored(mirror.host) }), 'r.example');
  assert.ok(mirror.log.every(({ url }) => url.includes('ns=r.example')));
  for (const status of [404, 500, 401, 403]) {
    const broken = await startTestRegistry({ fault: () => ({ kind: 'status', status }) });
    started.push(broken);
    for (const digest of bench.store.list()) bench.store.remove(digest);
    await pull(
      bench.client({ rules: mirrored(broken.host, primary === undefined ? {} : { location: primary }) }),
      'r.example',
    );
    stored(image);
  }
  assert.ok(registry.log.every(({ url }) => !url.includes('ns=')));
});

test('C16: without fallback nobody but the mirrors is asked', async () => {
  const mirror = await start();
  await rejects(
    pull(bench.client({ rules: mirrored(mirror.host, { fallsBack: false }) }), 'r.example'),
    'REGISTRY_NOT_FOUND',
    /r\.example \(by 127\.0\.0\.1/,
  );
  await rejects(
    pull(bench.client({ rules: mirrored(mirror.host), noFallback: true }), 'r.example'),
    'REGISTRY_NOT_FOUND',
  );
});

test('C16: a mirror for digests resolves no tags', async () => {
  const image = makeImage([1000]);
  const mirror = await start();
  hold(mirror, image);
  const registry = await start();
  hold(registry, image);
  const primary = parseLocation(`http://${registry.host}`);
  await pull(
    bench.client({
      rules: mirrored(mirror.host, primary === undefined ? {} : { location: primary }, 'digest-only'),
    }),
    'r.example',
  );
  assert.deepEqual(registry.calls(), ['HEAD /v2/team/app/manifests/1']);
  assert.ok(mirror.log.every(({ method }) => method === 'GET'));
});

test('C16: bytes that a mirror damages come from the registry, with a warning', async () => {
  const image = makeImage([1000]);
  const mirror = await start({ fault: (seen) => (isBlob(seen) ? { kind: 'corrupt' } : undefined) });
  hold(mirror, image);
  const registry = await start();
  hold(registry, image);
  const primary = parseLocation(`http://${registry.host}`);
  await pull(
    bench.client({ rules: mirrored(mirror.host, primary === undefined ? {} : { location: primary }) }),
    'r.example',
  );
  stored(image);
  assert.ok(
    bench.notices.some((notice) => notice.kind === 'retry' && notice.reason.includes('came damaged')),
  );
});

test('a registry that configuration blocks is not asked', async () => {
  const registry = await start();
  await rejects(
    pull(
      bench.client({
        rules: () =>
          Promise.resolve([{ origin: '/etc/x.conf', prefix: registry.host, mirrors: [], isBlocked: true }]),
      }),
      registry.host,
    ),
    'REGISTRY_REFUSED',
    /"\/etc\/x.conf" blocks/,
  );
});

test('tags are listed over all pages', async () => {
  const registry = await start({ pageSize: 2 });
  const image = makeImage([10]);
  for (const tag of ['a', 'b', 'c', 'd', 'e']) hold(registry, image, tag);
  const tags: string[] = [];
  for await (const tag of bench.client().tags(reference(registry.host), bench.io)) tags.push(tag);
  assert.deepEqual(tags, ['a', 'b', 'c', 'd', 'e']);
  assert.equal(registry.calls().length, 3);
});

test('C23: an abort in the middle of a pull leaves nothing behind, and the next one succeeds', async () => {
  const abort = new AbortController();
  const image = makeImage([400_000, 400_000]);
  const registry = await start({
    fault: (seen) => (isBlob(seen) && !abort.signal.aborted ? { kind: 'slow', delayMs: 40 } : undefined),
  });
  hold(registry, image);
  const client = bench.client();
  const from = reference(registry.host);
  const source = client.source(from);
  setTimeout(() => abort.abort(), 100);
  const io = { signal: abort.signal };
  await rejects(
    source.resolve(from, io).then((root) => copyImage(root, source, bench.store, io)),
    'ABORTED',
  );
  for (const digest of bench.store.list())
    assert.equal(digestOf(await bench.store.read(digest, 1 << 20)), digest);
  await pull(bench.client(), registry.host);
  stored(image);
});

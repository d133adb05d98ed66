/** What caches ask of a registry: manifests by one request, tags by one request, parts of blobs. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { collect } from '../../src/content/copy-image.ts';
import type { Fault } from '../registry/faults.ts';
import { bytesOf, makeImage, openBench, reference, rejects, type Bench } from '../registry/fixture.ts';
import { startTestRegistry, type Seen, type TestRegistry } from '../registry/test-registry.ts';

let bench: Bench;
let registry: TestRegistry;
let fault: ((seen: Seen) => Fault | undefined) | undefined;
const blob = bytesOf(100_000, 7);
const image = makeImage([10]);

beforeEach(async () => {
  bench = openBench();
  fault = undefined;
  registry = await startTestRegistry({ fault: (seen) => fault?.(seen) });
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  assert.deepEqual(registry.violations, []);
});

function hold(): {
  readonly mediaType: string;
  readonly digest: typeof image.root.digest;
  readonly size: number;
} {
  const there = registry.state.repository('team/app');
  const { root } = makeImage([1], 3);
  there.blobs.set(root.digest, blob);
  return { mediaType: 'application/octet-stream', digest: root.digest, size: blob.byteLength };
}

test('get reads a tag by one request, and says where there is none', async () => {
  const there = registry.state.repository('team/app');
  there.manifests.set(image.root.digest, { bytes: image.manifest, type: image.root.mediaType });
  there.tags.set('1', image.root.digest);
  const source = bench.client().source(reference(registry.host));
  const { descriptor, bytes } = await source.get(reference(registry.host), bench.io);
  assert.deepEqual(descriptor, image.root);
  assert.deepEqual(bytes, image.manifest);
  assert.deepEqual(registry.calls(), ['GET /v2/team/app/manifests/1']);
  await rejects(source.get(reference(registry.host, 'none'), bench.io), 'REGISTRY_NOT_FOUND');
});

test('publish sets a tag by one request, also one that led elsewhere', async () => {
  const there = registry.state.repository('team/app');
  for (const [digest, bytes] of image.blobs) there.blobs.set(digest, bytes);
  there.tags.set('t', 'sha256:elsewhere');
  const sink = bench.client().sink(reference(registry.host));
  assert.ok(await sink.has(image.layers[0] ?? image.root, bench.io));
  await sink.publish('t', image.root, image.manifest, bench.io);
  assert.deepEqual(registry.calls('PUT'), ['PUT /v2/team/app/manifests/t']);
  assert.equal(there.tags.get('t'), image.root.digest);
});

test('a part of a blob is exactly that part', async () => {
  const descriptor = hold();
  const source = bench.client().source(reference(registry.host));
  for (const [from, size] of [
    [0, 1],
    [5, 70_000],
    [99_999, 1],
  ] as const) {
    const part = await collect(source.openRange(descriptor, { from, size }, bench.io));
    assert.deepEqual(Buffer.from(part), blob.subarray(from, from + size));
  }
});

test('a part that is cut is resumed, a registry without ranges sends the whole', async () => {
  const descriptor = hold();
  const source = bench.client().source(reference(registry.host));
  let cuts = 0;
  fault = () => ((cuts += 1) === 1 ? { kind: 'cut-answer', after: 900 } : undefined);
  const part = await collect(source.openRange(descriptor, { from: 50, size: 2000 }, bench.io));
  assert.deepEqual(Buffer.from(part), blob.subarray(50, 2050));
  assert.equal(cuts, 2);
  fault = (seen) => {
    delete seen.headers.range;
    return undefined;
  };
  const whole = await collect(source.openRange(descriptor, { from: 60_000, size: 10 }, bench.io));
  assert.deepEqual(Buffer.from(whole), blob.subarray(60_000, 60_010));
});

test('a part that is another one than asked for is refused', async () => {
  const descriptor = hold();
  const source = bench.client().source(reference(registry.host));
  fault = () => ({ kind: 'headers', set: { 'content-range': 'bytes 7-16/100000' } });
  await rejects(collect(source.openRange(descriptor, { from: 60, size: 10 }, bench.io)), 'REGISTRY_PROTOCOL');
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { sha256 } from '@noble/hashes/sha2.js';
import { digestOf, parseDigest, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import { collect, copyImage } from '../../src/content/copy-image.ts';
import { openCompressedBlobs } from '../../src/content/compressed-blobs.ts';
import { openContentStore, type ContentStore } from '../../src/content/content-store.ts';
import { openImageStore, type ImageStore } from '../../src/image/image-store.ts';
import { normaliseLayer } from '../../src/image/import-rootfs.ts';
import { createForms, type Forms } from '../../src/image/manifest.ts';
import { gzipBlocks } from '../../src/layer/compress.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { LayerStore } from '../../src/layer/layer.ts';
import type { ImageConfig } from '../../src/oci/documents.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { openStatCache } from '../../src/solver/exec/context/stat-cache.ts';
import type { EntryStat } from '../../src/layer/tree.ts';

let root: string;
let content: ContentStore;
let layers: LayerStore;
let images: ImageStore;
let forms: Forms;
let count = 0;
const host: Host = {
  now: () => Date.now(),
  unique: () => `${process.pid}.${startTimeOf(process.pid) ?? ''}.${(count += 1)}`,
};
const signal = new AbortController().signal;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-stores-'));
  content = openContentStore(join(root, 'content'), host);
  layers = openLayerStore(join(root, 'layers'), host);
  const compressed = openCompressedBlobs(join(root, 'compressed'), host);
  images = openImageStore({ root: join(root, 'images'), host, content, layers, compressed });
  forms = createForms({ content, layers, compressed, images });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function* bodyOf(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(Buffer.from(part));
}

test('our sha256 is the one that an independent implementation computes', () => {
  const text = 'the same bytes';
  assert.equal(digestOf(text), `sha256:${Buffer.from(sha256(Buffer.from(text))).toString('hex')}`);
  assert.throws(
    () => parseDigest('sha256:xyz'),
    (error) => isTsbuildError(error, 'DIGEST_INVALID'),
  );
});

test('a blob is visible when it is complete and verified, and not before', async () => {
  const digest = digestOf('hello');
  await assert.rejects(content.ingest(bodyOf('hel'), { digest, size: 5 }), (error) =>
    isTsbuildError(error, 'SIZE_MISMATCH'),
  );
  await assert.rejects(content.ingest(bodyOf('hellO'), { digest, size: 5 }), (error) =>
    isTsbuildError(error, 'DIGEST_MISMATCH'),
  );
  await assert.rejects(content.ingest(bodyOf('hello', 'more'), { digest, size: 5 }), (error) =>
    isTsbuildError(error, 'SIZE_MISMATCH'),
  );
  assert.deepEqual([...content.list()], []);
  assert.deepEqual(readdirSync(join(root, 'content/partial')), []);
  await content.ingest(bodyOf('hel', 'lo'), { digest, size: 5 });
  await content.ingest(bodyOf('hello'), { digest, size: 5 });
  assert.deepEqual([...content.list()], [digest]);
  assert.equal(
    Buffer.from(await collect(content.open({ mediaType: '', digest, size: 5 }, { signal }))).toString(),
    'hello',
  );
});

test('a blob that was damaged on disk is refused when it is read', async () => {
  const { digest, size } = content.write('document');
  writeFileSync(content.path(digest), 'DOCUMENT');
  await assert.rejects(collect(content.open({ mediaType: '', digest, size }, { signal })), (error) =>
    isTsbuildError(error, 'DIGEST_MISMATCH'),
  );
  await assert.rejects(content.read(digest, 3), (error) => isTsbuildError(error, 'SIZE_MISMATCH'));
  await assert.rejects(content.read(digestOf('none'), 9), (error) => isTsbuildError(error, 'BLOB_NOT_FOUND'));
});

test('what a killed writer left is swept by the next one', async () => {
  mkdirSync(join(root, 'content/partial'), { recursive: true });
  writeFileSync(join(root, 'content/partial/999999999.1.x'), 'half');
  await openContentStore(join(root, 'content'), host).ingest(bodyOf('x'));
  assert.deepEqual(readdirSync(join(root, 'content/partial')), []);
});

test('gzip in blocks is one member that gunzip reads, whatever the chunks', async () => {
  const text = Buffer.from(
    Array.from({ length: 200_000 }, (_, index) => `line ${index} ${index % 7}\n`).join(''),
  );
  const whole = await collect(gzipBlocks(bodyOf(text)));
  assert.deepEqual(execFileSync('gzip', ['-dc'], { input: whole, maxBuffer: 1 << 26 }), text);
  const pieces: Buffer[] = [];
  for (let at = 0; at < text.byteLength; at += 77_777) pieces.push(text.subarray(at, at + 77_777));
  assert.deepEqual(await collect(gzipBlocks(bodyOf(...pieces))), whole);
  assert.equal(execFileSync('gzip', ['-dc'], { input: await collect(gzipBlocks(bodyOf())) }).byteLength, 0);
});

async function addImage(text: string): Promise<ReturnType<ImageStore['put']>> {
  const tar = join(root, `${count}.tar`);
  const directory = join(root, `files-${count}`);
  mkdirSync(directory);
  writeFileSync(join(directory, 'f'), text);
  execFileSync('tar', ['-C', directory, '-cf', tar, '.']);
  const layer = await normaliseLayer(bodyOf(execFileSync('cat', [tar])), layers, {
    spool: join(root, 'spool'),
    signal,
  });
  const config: ImageConfig = {
    os: 'linux',
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.diffID] },
    history: [],
  };
  return images.put(config);
}

test('images are found by name, id and the beginning of an id', async () => {
  const image = await addImage('one');
  images.tag(parseReference('app'), image.id);
  images.tag(parseReference('r.io/x/app:2'), image.id);
  assert.deepEqual((await images.require('app')).tags, ['app:latest', 'r.io/x/app:2']);
  assert.equal((await images.find(image.id))?.id, image.id);
  assert.equal((await images.find(image.id.slice(7, 19)))?.id, image.id);
  assert.equal(await images.find('none'), undefined);
  assert.ok(images.untag(parseReference('app')));
  assert.ok(!images.untag(parseReference('app')));
  await assert.rejects(images.require('app'), (error) => isTsbuildError(error, 'IMAGE_NOT_FOUND'));
});

test('a manifest names layers in the form that is asked for, compressed once', async () => {
  const image = await addImage('two');
  const [diffID] = image.config.rootfs.diff_ids;
  assert.ok(diffID !== undefined);
  const manifest = await forms.createManifest(image, { form: 'gzip', format: 'oci', signal });
  const again = await forms.createManifest(image, { form: 'gzip', format: 'oci', signal });
  assert.equal(manifest.digest, again.digest);
  const plain = await forms.descriptorOf(diffID, 'uncompressed', signal);
  assert.equal(plain.digest, diffID);
  const docker = JSON.parse(
    Buffer.from(
      await content.read(
        (await forms.createManifest(image, { form: 'gzip', format: 'docker', signal })).digest,
        9999,
      ),
    ).toString(),
  ) as { layers: { mediaType: string }[] };
  assert.equal(docker.layers[0]?.mediaType, 'application/vnd.docker.image.rootfs.diff.tar.gzip');
});

test('copying an image moves children first and nothing twice', async () => {
  const image = await addImage('three');
  const manifest = await forms.createManifest(image, { form: 'gzip', format: 'oci', signal });
  const other = openContentStore(join(root, 'other'), host);
  const order: string[] = [];
  const sink = {
    has: other.has.bind(other),
    put: async (...args: Parameters<ContentStore['put']>) => (
      order.push(args[0].mediaType), other.put(...args)
    ),
  };
  await copyImage(manifest, forms.source, sink, { signal });
  await copyImage(manifest, forms.source, sink, { signal });
  assert.equal(order.at(-1), manifest.mediaType);
  assert.equal(order.length, 3);
});

test('an import is sorted and the same for the same files in any order', async () => {
  const directory = join(root, 'files');
  mkdirSync(join(directory, 'a'), { recursive: true });
  for (const name of ['z', 'a/y', 'b']) writeFileSync(join(directory, name), name);
  const layerOf = async (...names: readonly string[]): Promise<DiffID> => {
    const tar = execFileSync('tar', ['-C', directory, '--no-recursion', '-cf', '-', ...names]);
    return (await normaliseLayer(bodyOf(tar), layers, { spool: join(root, 'spool'), signal })).diffID;
  };
  const first = await layerOf('z', 'a', 'a/y', 'b');
  assert.equal(await layerOf('b', 'a', 'a/y', 'z'), first);
  const path = layers.get(first)?.path ?? '';
  assert.deepEqual(execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n'), [
    'a/',
    'a/y',
    'b',
    'z',
  ]);
});

for (const [name, bytes] of [
  ['no tar', Buffer.from('plain text'.repeat(100))],
  ['nothing', Buffer.alloc(0)],
  ['a cut gzip', Buffer.from([0x1f, 0x8b, 8, 0, 0])],
] as const)
  test(`an import of ${name} is refused and leaves nothing`, async () => {
    await assert.rejects(
      normaliseLayer(bodyOf(bytes), layers, { spool: join(root, 'spool'), signal }),
      (error) => isTsbuildError(error, 'ARCHIVE_INVALID'),
    );
    assert.deepEqual([...layers.list()], []);
    assert.ok(!existsSync(join(root, 'spool')));
  });

test('the stat cache knows files again that did not change, and nothing that is fresh', () => {
  const stat = (more: Partial<EntryStat> = {}): EntryStat => ({
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 5,
    mtimeNs: 10n ** 18n,
    ctimeNs: 10n ** 18n,
    dev: 1,
    ino: 2,
    nlink: 1,
    major: 0,
    minor: 0,
    ...more,
  });
  const first = openStatCache(join(root, 'stat'), '/ctx', host);
  first.put(stat(), digestOf('a'));
  const fresh = BigInt(Date.now()) * 1_000_000n;
  first.put(stat({ ino: 3, ctimeNs: fresh }), digestOf('b'));
  assert.ok(
    first.knows(stat({ ino: 3, ctimeNs: fresh })) && !first.knows(stat({ ino: 3, ctimeNs: fresh + 1n })),
  );
  first.save();
  const second = openStatCache(join(root, 'stat'), '/ctx', host);
  assert.equal(second.get(stat()), digestOf('a'));
  assert.equal(second.get(stat({ ino: 3, ctimeNs: fresh })), undefined);
  for (const change of [{ size: 6 }, { mtimeNs: 1n }, { ctimeNs: 1n }, { ino: 9 }, { dev: 9 }])
    assert.equal(second.get(stat(change)), undefined);
  assert.equal(openStatCache(join(root, 'stat'), '/other', host).get(stat()), undefined);
});

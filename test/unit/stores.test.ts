import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { sha256 } from '@noble/hashes/sha2.js';
import { digestOf, parseDigest, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import { collect, copyImage } from '../../src/content/copy-image.ts';
import { openCompressedBlobs } from '../../src/content/compressed-blobs.ts';
import { openLazyBlobs, type LazyBlobs } from '../../src/content/lazy-blobs.ts';
import { openContentStore, type ContentStore } from '../../src/content/content-store.ts';
import { openImageStore, type ImageStore } from '../../src/image/image-store.ts';
import { normaliseLayer } from '../../src/image/import-rootfs.ts';
import { createLayerFiles, type LayerFiles } from '../../src/image/layer-files.ts';
import { createForms, type Forms } from '../../src/image/manifest.ts';
import { gzipBlocks } from '../../src/layer/gzip-blocks.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { LayerStore } from '../../src/layer/layer.ts';
import type { Descriptor, ImageConfig } from '../../src/oci/documents.ts';
import { parseReference } from '../../src/oci/reference.ts';

let root: string;
let content: ContentStore;
let layers: LayerStore;
let images: ImageStore;
let forms: Forms;
let blobs: LazyBlobs;
let files: LayerFiles;
/** What repositories hold, and which of them were asked. */
const remote = new Map<string, Uint8Array>();
const asked: string[] = [];
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
  blobs = openLazyBlobs({
    ...{ root: join(root, 'known'), host, content, compressed },
    sourceOf: (repository) => Promise.resolve({ open: (blob) => elsewhere(repository, blob) }),
  });
  images = openImageStore({ root: join(root, 'images'), host, content, layers, blobs });
  files = createLayerFiles({ content, layers, blobs });
  forms = createForms({ content, layers, compressed, blobs, files });
  remote.clear();
  asked.length = 0;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function* bodyOf(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(Buffer.from(part));
}

async function* elsewhere(repository: string, { digest }: Descriptor): AsyncGenerator<Uint8Array> {
  asked.push(repository);
  const bytes = await Promise.resolve(remote.get(`${repository} ${digest}`));
  if (bytes === undefined) throw new TsbuildError('REGISTRY_NOT_FOUND', `${repository} has no ${digest}`);
  yield bytes;
}

/** A layer that nobody has here, and its compressed form in a repository. */
async function lazyLayer(text: string, repository: string): Promise<{ diffID: DiffID; blob: Descriptor }> {
  const diffID = digestOf(text) as DiffID;
  const bytes = await collect(gzipBlocks(bodyOf(text)));
  const blob = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: digestOf(bytes),
    size: bytes.byteLength,
  };
  remote.set(`${repository} ${blob.digest}`, bytes);
  blobs.addLayer(diffID, blob, repository);
  return { diffID, blob };
}

test('a layer that only a registry has counts as present, and is fetched when it is read, once', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  assert.ok(images.hasLayer(diffID));
  assert.deepEqual(asked, []);
  const read = async (): Promise<string> =>
    Buffer.from(await collect(images.openLayer(diffID)?.tar() ?? bodyOf())).toString();
  assert.deepEqual(await Promise.all([read(), read()]), ['a tar', 'a tar']);
  assert.deepEqual(asked, ['r/x']);
  assert.equal(content.size(blob.digest), blob.size);
});

test('a blob is read straight from a registry without being kept; the next repository is asked where one fails', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  blobs.remember(blob.digest, 'r/gone');
  assert.deepEqual(await forms.descriptorOf(diffID, { compression: 'gzip' }, signal), blob);
  assert.deepEqual(
    Buffer.from(await collect(forms.source.open(blob, { signal }))),
    remote.get(`r/x ${blob.digest}`),
  );
  assert.deepEqual(asked, ['r/gone', 'r/x']);
  assert.equal(content.size(blob.digest), undefined);
  assert.deepEqual(blobs.repositoriesOf(blob.digest), ['r/gone', 'r/x']);
});

test('a fetch goes on for those who still want it', async () => {
  const { blob } = await lazyLayer('a tar', 'r/x');
  const [first, second] = [new AbortController(), new AbortController()];
  const one = blobs.fetch(blob, { signal: first.signal });
  const two = blobs.fetch(blob, { signal: second.signal });
  first.abort();
  await Promise.all([one, two]);
  assert.equal(content.size(blob.digest), blob.size);
  const third = new AbortController();
  third.abort();
  const { blob: other } = await lazyLayer('another tar', 'r/x');
  await assert.rejects(blobs.fetch(other, { signal: third.signal }), (error) =>
    isTsbuildError(error, 'ABORTED'),
  );
});

test('bytes that a registry damaged never become a layer', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  remote.set(`r/x ${blob.digest}`, Buffer.alloc(blob.size));
  await assert.rejects(collect(images.openLayer(diffID)?.tar() ?? bodyOf()), (error) =>
    isTsbuildError(error, 'DIGEST_MISMATCH'),
  );
  assert.equal(content.size(blob.digest), undefined);
});

test('a layer becomes a file in the pass that fetches it, once, and its blob is kept', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  const [one, two] = await Promise.all([files.bring(diffID, { signal }), files.bring(diffID, { signal })]);
  assert.equal(readFileSync(one?.path ?? '', 'utf8'), 'a tar');
  assert.deepEqual(two?.path, one?.path);
  assert.deepEqual(asked, ['r/x']);
  assert.equal(digestOf(readFileSync(content.path(blob.digest))), blob.digest);
  // Without the tar the blob will do.
  layers.remove(diffID);
  assert.equal((await files.bring(diffID, { signal }))?.size, 5);
  assert.deepEqual(asked, ['r/x']);
  assert.equal(await files.bring(digestOf('nothing') as DiffID, { signal }), undefined);
});

test('a blob that came damaged is fetched from another repository', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  for (const damage of [Buffer.alloc(blob.size), Buffer.from('\x1f\x8b damaged', 'latin1')]) {
    remote.set(`r/bad ${blob.digest}`, damage);
    blobs.remember(blob.digest, 'r/x');
    blobs.remember(blob.digest, 'r/bad');
    asked.length = 0;
    assert.equal(readFileSync((await files.bring(diffID, { signal }))?.path ?? '', 'utf8'), 'a tar');
    assert.deepEqual(asked.at(-1), 'r/x');
    layers.remove(diffID);
    content.remove(blob.digest);
  }
});

test('a blob that holds another layer than its image says never becomes that layer', async () => {
  const { blob } = await lazyLayer('another tar', 'r/x');
  const diffID = digestOf('a tar') as DiffID;
  blobs.addLayer(diffID, blob, 'r/x');
  await assert.rejects(files.bring(diffID, { signal }), (error) => isTsbuildError(error, 'DIGEST_MISMATCH'));
  assert.deepEqual([...layers.list()], []);
  assert.deepEqual(readdirSync(join(root, 'layers/partial')), []);
});

test('a layer that is here in one form is not fetched in another', async () => {
  const { diffID, blob } = await lazyLayer('a tar', 'r/x');
  await blobs.fetch(blob, { signal });
  blobs.addLayer(diffID, { ...blob, digest: digestOf('another form') }, 'r/y');
  assert.deepEqual(blobs.ofLayer(diffID), blob);
  content.remove(blob.digest);
  assert.equal(blobs.ofLayer(diffID)?.digest, digestOf('another form'));
});

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
  const manifest = await forms.createManifest(image, {
    form: { compression: 'gzip' },
    format: 'oci',
    signal,
  });
  const again = await forms.createManifest(image, { form: { compression: 'gzip' }, format: 'oci', signal });
  assert.equal(manifest.digest, again.digest);
  const plain = await forms.descriptorOf(diffID, { compression: 'uncompressed' }, signal);
  assert.equal(plain.digest, diffID);
  const docker = JSON.parse(
    Buffer.from(
      await content.read(
        (await forms.createManifest(image, { form: { compression: 'gzip' }, format: 'docker', signal }))
          .digest,
        9999,
      ),
    ).toString(),
  ) as { layers: { mediaType: string }[] };
  assert.equal(docker.layers[0]?.mediaType, 'application/vnd.docker.image.rootfs.diff.tar.gzip');
});

test('copying an image moves children first and nothing twice', async () => {
  const image = await addImage('three');
  const manifest = await forms.createManifest(image, {
    form: { compression: 'gzip' },
    format: 'oci',
    signal,
  });
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

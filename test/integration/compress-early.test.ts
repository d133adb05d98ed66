/** Layers that are compressed while they are still being packed. */
import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openCompressedBlobs, type CompressedBlobs } from '../../src/content/compressed-blobs.ts';
import { openContentStore } from '../../src/content/content-store.ts';
import { openLazyBlobs } from '../../src/content/lazy-blobs.ts';
import { createLayerFiles } from '../../src/image/layer-files.ts';
import { createLayerForms, type LayerForms } from '../../src/image/layer-forms.ts';
import { createCompressor, type Compressed } from '../../src/layer/compress.ts';
import type { GrowingLayer, Layer, LayerStore } from '../../src/layer/layer.ts';
import type { CompressedForm } from '../../src/layer/layer-form.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { emptyTree, openDirectoryTree } from '../../src/layer/open-tree.ts';
import { packUpperLayer } from '../../src/layer/upper-layer.ts';
import { carryOut } from '../../src/solver/exec/copy/carry-out.ts';
import { openEarlierLayers } from '../../src/solver/exec/copy/earlier-layers.ts';
import { planOf } from '../suites/copy-fixture.ts';
import { temporaryDirectory, testHost } from '../suites/layer-fixture.ts';

const MIB = 1 << 20;
const signal = new AbortController().signal;
let space: ReturnType<typeof temporaryDirectory>;
let layers: LayerStore;
beforeEach(() => {
  space = temporaryDirectory();
  layers = openLayerStore(join(space.path, 'layers'), testHost);
});
afterEach(() => space[Symbol.dispose]());

/** Half of it shrinks. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size / 2; ) at += bytes.write(`line ${at} of ${(at * 7919) % 1000}\n`, at);
  return randomFillSync(bytes, Math.ceil(size / 2));
}

interface Growing {
  readonly layer: GrowingLayer;
  /** The rest of it, in pieces; the layer. */
  finish(): Promise<Layer>;
  giveUp(): void;
}

function grow(bytes: Buffer, piece: number): Growing {
  const writer = layers.create();
  let layer: GrowingLayer | undefined;
  let at = 0;
  const more = (): void => {
    writer.write(bytes.subarray(at, at + piece));
    at = Math.min(at + piece, bytes.byteLength);
    writer.grown(at, (growing) => (layer = growing));
  };
  more();
  if (layer === undefined) throw new Error('nobody was told of the layer');
  return {
    layer,
    async finish() {
      while (at < bytes.byteLength) {
        more();
        await sleep(1);
      }
      const made = writer.commit();
      writer[Symbol.dispose]();
      return made;
    },
    giveUp: () => writer[Symbol.dispose](),
  };
}

async function compressWhole(layer: Layer, form: CompressedForm): Promise<Compressed> {
  const { compress } = await createCompressor(form);
  const to = openSync(join(space.path, 'whole'), 'w');
  try {
    return await compress(layer, to, { signal });
  } finally {
    closeSync(to);
  }
}

async function compressEarly(
  growing: GrowingLayer,
  form: CompressedForm,
  threads: number,
): Promise<Compressed> {
  const from = growing.open();
  const { compressGrowing } = await createCompressor(form);
  assert.ok(compressGrowing);
  const to = openSync(join(space.path, `early-${threads}`), 'w');
  try {
    return await compressGrowing(from, growing.sizes(), to, { signal, threads });
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

for (const form of ['gzip', 'zstd'] as const)
  void test(`a layer that grows becomes the same ${form} as one that is there, whatever the pieces and threads`, async () => {
    for (const [size, piece] of [
      [512, 512],
      [MIB, MIB],
      [3 * MIB, 300_000],
      [9 * MIB + 777, 2 * MIB + 1],
    ] as const) {
      const bytes = content(size);
      let expected: Compressed | undefined;
      for (const threads of [1, 2, 8]) {
        const growing = grow(bytes, piece);
        const making = compressEarly(growing.layer, form, threads);
        const layer = await growing.finish();
        expected ??= await compressWhole(layer, form);
        assert.deepEqual(await making, expected, `${size} bytes, ${threads} threads`);
      }
    }
  });

void test('what lies behind the told size is not looked at before it is told', async () => {
  const bytes = content(6 * MIB);
  const growing = grow(bytes, 2 * MIB);
  const fd = growing.layer.open();
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  closeSync(fd);
  // As a tar that begins as the clone of an earlier one.
  writeFileSync(path, Buffer.concat([bytes.subarray(0, 2 * MIB), Buffer.alloc(20 * MIB, 1)]));
  const making = compressEarly(growing.layer, 'gzip', 2);
  await sleep(100);
  writeFileSync(path, bytes.subarray(0, 2 * MIB));
  const layer = await growing.finish();
  assert.deepEqual(await making, await compressWhole(layer, 'gzip'));
});

void test('a layer that is given up ends its compression', async () => {
  const growing = grow(content(4 * MIB), MIB);
  const making = compressEarly(growing.layer, 'gzip', 2);
  making.catch(() => undefined);
  await sleep(50);
  growing.giveUp();
  await assert.rejects(making, (error) => isTsbuildError(error, 'ABORTED'));
  assert.equal(await growing.layer.made, undefined);
});

/** Reads what a layer's growth tells of at once; afterwards it must be what is in the layer. */
class Reader {
  readonly told: number[] = [];
  readonly #hash = createHash('sha256');
  #reading: Promise<void> | undefined;

  readonly onPacking = (growing: GrowingLayer): void => {
    this.#reading = this.#read(growing);
  };

  async #read(growing: GrowingLayer): Promise<void> {
    const fd = growing.open();
    const buffer = Buffer.alloc(MIB);
    let at = 0;
    for await (const { size } of growing.sizes()) {
      this.told.push(size);
      assert.ok(fstatSync(fd).size >= size);
      while (at < size) {
        const n = readSync(fd, buffer, 0, Math.min(MIB, size - at), at);
        this.#hash.update(buffer.subarray(0, n));
        at += n;
      }
    }
    closeSync(fd);
  }

  /** why few: who is busy is told of several sizes at once. */
  async check(layer: Layer, atLeast: number): Promise<void> {
    await this.#reading;
    assert.ok(this.told.length >= atLeast, `told ${this.told.length} times`);
    assert.equal(this.told.at(-1), layer.size);
    assert.equal(`sha256:${this.#hash.digest('hex')}`, layer.diffID);
  }
}

function makeContext(): string {
  const directory = join(space.path, 'context');
  mkdirSync(directory);
  for (let i = 0; i < 400; i += 1) writeFileSync(join(directory, `small-${i}`), content(20_000 + i));
  for (const name of ['a', 'p', 't']) writeFileSync(join(directory, name), content(5 * MIB + 3));
  return directory;
}

async function packCopy(
  directory: string,
  reader: Reader,
  earlier?: ReturnType<typeof openEarlierLayers>,
): Promise<Layer> {
  using source = openDirectoryTree(directory);
  using parent = emptyTree();
  const { plan } = await planOf(source, parent, { from: ['.'] });
  using writer = layers.create();
  const carried = await carryOut(plan, writer, {
    signal,
    onPacking: reader.onPacking,
    ...(earlier === undefined ? {} : { earlier, identity: 'it' }),
  });
  const layer = writer.commit();
  carried.keep(layer.diffID);
  return layer;
}

void test('what is told of a layer of COPY lies in its file, also where most comes from the layer before', async () => {
  const directory = makeContext();
  const earlier = openEarlierLayers(join(space.path, 'earlier'), testHost, layers);
  const first = new Reader();
  await first.check(await packCopy(directory, first, earlier), 2);
  writeFileSync(join(directory, 'p'), content(5 * MIB + 3));
  const second = new Reader();
  await second.check(await packCopy(directory, second, earlier), 2);
});

void test('what is told of a layer of RUN lies in its file', async () => {
  const directory = makeContext();
  // Several times: a reader that is late shows in some of them.
  for (let round = 0; round < 8; round += 1) {
    using upper = openDirectoryTree(directory);
    using parent = emptyTree();
    using writer = layers.create();
    const reader = new Reader();
    await packUpperLayer(upper, parent, writer, { signal, now: Date.now, onPacking: reader.onPacking });
    await reader.check(writer.commit(), 2);
  }
});

interface Forms {
  readonly forms: LayerForms;
  /** Layers whose compression came to its end. */
  readonly made: readonly DiffID[];
}

function openForms(): Forms {
  const content = openContentStore(join(space.path, 'content'), testHost);
  const kept = openCompressedBlobs(join(space.path, 'compressed'), testHost);
  const made: DiffID[] = [];
  const compressed: CompressedBlobs = {
    ...kept,
    put(diffID, how, blob) {
      made.push(diffID);
      kept.put(diffID, how, blob);
    },
  };
  const blobs = openLazyBlobs({
    ...{ root: join(space.path, 'known'), host: testHost, content, compressed },
    sourceOf: () => Promise.reject(new Error('nothing lies elsewhere')),
  });
  const files = createLayerFiles({ content, layers, blobs });
  return { forms: createLayerForms({ content, layers, compressed, blobs, files }), made };
}

const GZIP = { compression: 'gzip' } as const;

function drafts(): string[] {
  return readdirSync(join(space.path, 'content'), { recursive: true }).filter((name) =>
    String(name).includes('partial/'),
  ) as string[];
}

void test('what has begun early is what the layer is asked for later', async () => {
  const { forms } = openForms();
  const bytes = content(8 * MIB);
  const growing = grow(bytes, MIB);
  const over = forms.beginEarly(growing.layer, GZIP, signal);
  await sleep(200);
  assert.equal(drafts().length, 1);
  const layer = await growing.finish();
  const formed = await forms.begin(layer.diffID, GZIP, signal);
  assert.ok(formed.kind === 'growing');
  assert.equal(drafts().length, 1);
  const blob = await formed.blob;
  assert.equal(formed.layerSize, bytes.byteLength);
  const read: Uint8Array[] = [];
  for await (const chunk of formed.read(signal)) read.push(Uint8Array.from(chunk));
  assert.equal(digestOf(Buffer.concat(read)), blob.digest);
  await over;
  assert.deepEqual(await forms.begin(layer.diffID, GZIP, signal), { kind: 'ready', blob });
  assert.deepEqual(drafts(), []);
});

void test('compression of a layer that turns out to be known, or is given up, ends and leaves nothing', async () => {
  const { forms, made } = openForms();
  const bytes = content(8 * MIB);
  const first = grow(bytes, MIB);
  const { diffID } = await first.finish();
  const blob = await forms.descriptorOf(diffID, GZIP, signal);
  const again = grow(bytes, MIB);
  const over = forms.beginEarly(again.layer, GZIP, signal);
  await again.finish();
  await over;
  assert.deepEqual(await forms.begin(diffID, GZIP, signal), { kind: 'ready', blob });
  const given = grow(content(4 * MIB), MIB);
  const ended = forms.beginEarly(given.layer, GZIP, signal);
  await sleep(100);
  given.giveUp();
  await ended;
  assert.deepEqual(drafts(), []);
  assert.deepEqual(made, [diffID]);
});

void test('a build that is aborted ends what has begun early', async () => {
  const { forms } = openForms();
  const abort = new AbortController();
  const growing = grow(content(4 * MIB), MIB);
  const over = forms.beginEarly(growing.layer, GZIP, abort.signal);
  await sleep(100);
  abort.abort();
  await over;
  assert.deepEqual(drafts(), []);
  const layer = await growing.finish();
  // And who asks afterwards gets it.
  assert.equal((await forms.descriptorOf(layer.diffID, GZIP, signal)).mediaType.endsWith('gzip'), true);
});

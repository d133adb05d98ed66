/** Layers compressed by the native program: what readers make of it, and that nobody sees how many threads there were. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  createReadStream,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { createCompressor, nativeEngines } from '../../src/layer/compress.ts';
import type { CompressedForm } from '../../src/layer/layer-form.ts';
import { unzstd } from '../../src/layer/decompress.ts';
import type { Layer } from '../../src/layer/layer.ts';

let directory: string;
const signal = new AbortController().signal;
const BLOCK = 1 << 20;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-compress-'));
});
after(() => rmSync(directory, { recursive: true }));

/** Text, then what does not shrink, then zeros: a third of each. */
function mixed(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  const third = Math.floor(size / 3);
  for (let at = 0; at < third; )
    at += bytes.write(`line ${at} of some text, ${(at * 7919) % 1000}\n`, at, third - at);
  let state = 12345;
  for (let at = third; at < 2 * third; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function layerOf(bytes: Buffer): Layer {
  const path = join(directory, 'layer.tar');
  writeFileSync(path, bytes);
  return {
    diffID: digestOf(bytes) as DiffID,
    size: bytes.byteLength,
    path,
    tar: () => createReadStream(path),
  };
}

async function compressed(
  layer: Layer,
  form: CompressedForm,
  options: {
    readonly threads?: number;
    readonly level?: number;
    readonly onWritten?: (size: number) => void;
  } = {},
): Promise<Buffer> {
  const path = join(directory, 'out');
  const to = openSync(path, 'w');
  try {
    const { compress } = await createCompressor(form, options.level);
    const made = await compress(layer, to, { ...options, signal });
    const bytes = readFileSync(path);
    assert.deepEqual(made, { digest: digestOf(bytes), size: bytes.byteLength });
    return bytes;
  } finally {
    closeSync(to);
  }
}

void test('the program was built with both libraries', async () => {
  assert.deepEqual(
    [...(await nativeEngines()).keys()].filter((name) => name !== ''),
    ['gzip', 'zstd'],
  );
  assert.match((await createCompressor('gzip')).name, /^gzip-libdeflate-[\d.]+-6$/);
  assert.match((await createCompressor('zstd', 7)).name, /^zstd-libzstd-[\d.]+-7$/);
});

void test('1, 2 and 8 threads make the same bytes, which gunzip and zlib read', async () => {
  for (const size of [0, 1, 511, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK + 12345]) {
    const bytes = mixed(size);
    const layer = layerOf(bytes);
    const one = await compressed(layer, 'gzip', { threads: 1 });
    for (const threads of [2, 8]) assert.deepEqual(await compressed(layer, 'gzip', { threads }), one);
    assert.deepEqual(gunzipSync(one), bytes);
    assert.deepEqual(execFileSync('gzip', ['-dc'], { input: one, maxBuffer: 1 << 26 }), bytes);
    assert.ok(one.byteLength <= size + 64 * (1 + Math.ceil(size / BLOCK)));
  }
});

void test('1, 2 and 8 threads make the same frames, which zstd and fzstd read', async () => {
  for (const size of [0, 1, (4 << 20) - 1, 4 << 20, (9 << 20) + 777]) {
    const bytes = mixed(size);
    const layer = layerOf(bytes);
    const one = await compressed(layer, 'zstd', { threads: 1 });
    for (const threads of [2, 8]) assert.deepEqual(await compressed(layer, 'zstd', { threads }), one);
    assert.deepEqual(execFileSync('zstd', ['-dc'], { input: one, maxBuffer: 1 << 26 }), bytes);
    const parts: Uint8Array[] = [];
    for await (const part of unzstd(createReadStream(join(directory, 'out')))) parts.push(part);
    assert.deepEqual(Buffer.concat(parts), bytes);
  }
});

void test('levels differ in size, and what does not exist is refused', async () => {
  const layer = layerOf(mixed(3 * BLOCK));
  const sizes: number[] = [];
  for (const level of [0, 1, 6, 9]) sizes.push((await compressed(layer, 'gzip', { level })).byteLength);
  assert.deepEqual(
    [...sizes].sort((a, b) => b - a),
    sizes,
  );
  await assert.rejects(
    compressed(layer, 'gzip', { level: 12 }),
    (error) => isTsbuildError(error, 'IO_FAILED') && error.message.includes('it goes from 0 to 9'),
  );
});

void test('a listing of how much was written is never ahead of the file', async () => {
  const layer = layerOf(mixed(5 * BLOCK));
  const told: number[] = [];
  const bytes = await compressed(layer, 'gzip', {
    onWritten(size) {
      assert.ok(statSync(join(directory, 'out')).size >= size);
      told.push(size);
    },
  });
  assert.equal(told.length, 5);
  assert.equal(told.at(-1), bytes.byteLength);
});

void test('a full disk ends the call with an error that says so', async () => {
  const layer = layerOf(mixed(BLOCK));
  const to = openSync('/dev/full', 'w');
  const { compress } = await createCompressor('gzip');
  await assert.rejects(compress(layer, to, { signal }), (error) => isTsbuildError(error, 'DISK_FULL'));
  closeSync(to);
});

void test('the ratio is not below that of pigz', {
  skip: spawnSync('pigz', ['--version']).error !== undefined,
}, async () => {
  const bytes = readFileSync(process.execPath).subarray(0, 24 << 20);
  const ours = await compressed(layerOf(bytes), 'gzip');
  const theirs = execFileSync('pigz', ['-6', '-c'], { input: bytes, maxBuffer: 1 << 26 });
  assert.ok(ours.byteLength <= theirs.byteLength * 1.002, `${ours.byteLength} and ${theirs.byteLength}`);
});

/** Layers decompressed by the native program: all that zlib and zstd write, in any pieces, and nothing that is damaged. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { constants, gunzipSync, gzipSync, type ZlibOptions } from 'node:zlib';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { expandLayer, type ExpandSource } from '../../src/layer/expand.ts';

let directory: string;
const signal = new AbortController().signal;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-expand-'));
});
after(() => rmSync(directory, { recursive: true }));

let seed = 1;
function random(below: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
}

/** Text, noise, runs and repetitions at all distances. */
function mixed(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const kind = random(4);
    const length = Math.min(size - at, 1 + random(5000));
    if (kind === 0) bytes.fill(random(256), at, at + length);
    else if (kind === 1) for (let i = 0; i < length; i += 1) bytes[at + i] = random(256);
    else if (kind === 2) bytes.write('some words and numbers 12345 '.repeat(200), at, length, 'latin1');
    else
      for (let i = 0, from = Math.max(0, at - 1 - random(40_000)); i < length; i += 1)
        bytes[at + i] = bytes[from + i] ?? 0;
    at += length;
  }
  return bytes;
}

async function* inPieces(bytes: Uint8Array, most: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; ) {
    const size = 1 + random(most);
    yield await Promise.resolve(bytes.subarray(at, at + size));
    at += size;
  }
}

async function expanded(source: ExpandSource): Promise<Buffer> {
  const [path, kept] = [join(directory, 'tar'), join(directory, 'kept')];
  const [to, keep] = [openSync(path, 'w'), openSync(kept, 'w')];
  try {
    const made = await expandLayer(source, { to, keep, signal });
    const bytes = readFileSync(path);
    const blob = readFileSync(kept);
    assert.deepEqual(made, {
      blob: { digest: digestOf(blob), size: blob.byteLength },
      layer: { diffID: digestOf(bytes), size: bytes.byteLength },
    });
    return bytes;
  } finally {
    closeSync(to);
    closeSync(keep);
  }
}

/** From a stream; what was kept is what came. */
async function stream(bytes: Uint8Array, most = 100_000): Promise<Buffer> {
  const made = await expanded({ kind: 'stream', body: inPieces(bytes, most) });
  assert.ok(readFileSync(join(directory, 'kept')).equals(bytes));
  return made;
}

const DEFLATES: readonly ZlibOptions[] = [
  { level: 0 },
  { level: 1 },
  { level: 6 },
  { level: 9, memLevel: 1 },
  { strategy: constants.Z_FIXED },
  { strategy: constants.Z_HUFFMAN_ONLY },
  { strategy: constants.Z_RLE },
];

void test('all kinds of DEFLATE blocks, of sizes around those of the buffers', async () => {
  for (const size of [0, 1, 300, 32_768, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1_700_000]) {
    const bytes = mixed(size);
    for (const options of DEFLATES) {
      const made = await stream(gzipSync(bytes, options));
      assert.ok(made.equals(bytes), `${size} bytes, ${JSON.stringify(options)}`);
    }
  }
});

void test('members one after the other, and zeros after the last', async () => {
  const parts = [mixed(70_000), mixed(0), mixed(600_000), Buffer.from('end')];
  const whole = Buffer.concat(parts.map((part) => gzipSync(part)));
  assert.ok((await stream(whole)).equals(Buffer.concat(parts)));
  assert.ok((await stream(Buffer.concat([whole, Buffer.alloc(5000)]))).equals(Buffer.concat(parts)));
});

void test('a member whose head says all that a head can', async () => {
  const plain = gzipSync('content');
  const extra = Buffer.from([3, 0, 1, 2, 3]);
  const head = Buffer.from([0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 0, 3]);
  const whole = Buffer.concat([
    head,
    extra,
    Buffer.from('name\0comment\0'),
    Buffer.from([9, 9]),
    plain.subarray(10),
  ]);
  assert.equal((await stream(whole, 3)).toString(), 'content');
});

void test('a match reaches as far back as it may over the end of a buffer', async () => {
  const noise = Buffer.alloc(32_768);
  for (let at = 0; at < noise.byteLength; at += 1) noise[at] = random(256);
  const bytes = Buffer.concat(Array.from({ length: 40 }, () => noise));
  assert.ok((await stream(gzipSync(bytes, { level: 9 }))).equals(bytes));
});

void test('zstd: frames, skipped frames, windows larger than a buffer', async () => {
  const bytes = mixed(3_000_000);
  const zstd = (input: Buffer, ...flags: readonly string[]): Buffer =>
    execFileSync('zstd', ['-c', ...flags], { input, maxBuffer: 1 << 26 });
  const skipped = Buffer.from([0x52, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const half = bytes.byteLength / 2;
  const frames = [zstd(bytes.subarray(0, half)), skipped, zstd(bytes.subarray(half), '-19')];
  assert.ok((await stream(Buffer.concat([skipped, ...frames]))).equals(bytes));
  assert.equal((await stream(zstd(Buffer.alloc(0)))).byteLength, 0);
  await assert.rejects(stream(zstd(bytes).subarray(0, 200_000)), (error) =>
    isTsbuildError(error, 'ARCHIVE_INVALID'),
  );
});

void test('what is not compressed is taken as it is; a file is read from where it stands', async () => {
  const bytes = mixed(777_777);
  bytes.write('a tar begins with a name');
  assert.ok((await stream(bytes)).equals(bytes));
  assert.equal((await stream(Buffer.alloc(0))).byteLength, 0);
  const fd = openSync(join(directory, 'kept'), 'r');
  closeSync(fd);
  const path = process.execPath;
  const own = openSync(path, 'r');
  assert.equal(digestOf(await expanded({ kind: 'file', fd: own })), digestOf(readFileSync(path)));
  closeSync(own);
});

void test('a stream that is cut anywhere is refused, and so is what follows it', async () => {
  const whole = gzipSync(mixed(3000), { level: 6 });
  for (let size = 2; size < whole.byteLength; size += 1 + random(40))
    await assert.rejects(
      stream(whole.subarray(0, size)),
      (error) => isTsbuildError(error, 'ARCHIVE_INVALID') && /too early|damaged/.test(error.message),
      `${size} of ${whole.byteLength}`,
    );
  await assert.rejects(stream(Buffer.concat([whole, Buffer.from('more')])), /what follows a gzip member/);
});

void test('damaged streams end as zlib ends them, or in other bytes than those that were meant', async () => {
  const bytes = mixed(20_000);
  let refused = 0;
  for (let round = 0; round < 150; round += 1) {
    const whole = Buffer.from(gzipSync(bytes, DEFLATES[random(DEFLATES.length)]));
    for (let change = 0; change <= random(3); change += 1)
      whole[10 + random(whole.byteLength - 18)] = random(256);
    let theirs: Buffer | undefined;
    try {
      theirs = gunzipSync(whole);
    } catch {
      theirs = undefined;
    }
    let ours: Buffer | undefined;
    try {
      ours = await stream(whole);
    } catch (error) {
      assert.ok(isTsbuildError(error, 'ARCHIVE_INVALID'));
      refused += 1;
    }
    // A checksum that is wrong is zlib's reason alone: whoever keeps the bytes compares their digest.
    if (theirs !== undefined) assert.ok(ours?.equals(theirs));
    else assert.ok(ours?.equals(bytes) !== true);
  }
  assert.ok(refused > 5, `${refused} were refused`);
});

void test('a source that fails ends the call with its own error', async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(gzipSync(mixed(100_000)).subarray(0, 5000));
    throw new Error('the line is cut');
  }
  await assert.rejects(expanded({ kind: 'stream', body: failing() }), /the line is cut/);
});

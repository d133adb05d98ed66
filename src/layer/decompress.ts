/**
 * Decompression by content: gzip, zstd, xz, bzip2 or nothing at all, whatever the name or media type says.
 *
 * gzip is node:zlib; xz and bzip2 are the system's tools; zstd is the system's tool where there is one, being four
 * times as fast, else fzstd (several frames and skippable frames are legal, and Node's own decoder drops them).
 */
import { spawn, spawnSync } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, gunzipSync } from 'node:zlib';
import { errnoOf, isTsbuildError, TsbuildError } from '../base/errors.ts';

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz' | 'bzip2';

const CHUNK = 256 * 1024;

export function sniffCompression(head: Uint8Array): Compression {
  const starts = (...bytes: readonly number[]): boolean => bytes.every((byte, index) => head[index] === byte);
  if (starts(0x1f, 0x8b, 0x08)) return 'gzip';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if ((head[0] ?? 0) >= 0x50 && (head[0] ?? 0) <= 0x5f && starts(head[0] ?? 0, 0x2a, 0x4d, 0x18))
    return 'zstd';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz';
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2';
  return 'none';
}

/**
 * The decompressed bytes. Throws ARCHIVE_INVALID where the compressed form is damaged or cut, IO_FAILED where there is no
 * program for it.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { head, all } = await peekHead(source, 6);
  const compression = sniffCompression(head);
  try {
    switch (compression) {
      case 'none':
        yield* all;
        return;
      case 'gzip':
        yield* gunzip(all);
        return;
      case 'zstd':
        yield* hasZstd() ? throughTool(compression, all) : unzstd(all);
        return;
      case 'xz':
      case 'bzip2':
        yield* throughTool(compression, all);
    }
  } catch (error) {
    if (error instanceof TsbuildError || compression === 'none') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new TsbuildError('ARCHIVE_INVALID', `cannot decompress (${compression}): ${reason}`, {
      cause: error,
    });
  }
}

/**
 * The first `size` decompressed bytes, fewer where there are not so many. Whether the rest is whole makes no difference,
 * wherever the damage lies.
 */
export async function decompressedHead(source: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const { head, all } = await peekHead(source, GZIP_HEAD);
  const compression = sniffCompression(head);
  if (compression === 'gzip') {
    await all[Symbol.asyncIterator]().return?.();
    return gunzipBeginning(head, size);
  }
  const bytes = headOf(compression, all);
  const taken: Uint8Array[] = [];
  let got = 0;
  try {
    for await (const chunk of bytes) {
      taken.push(Uint8Array.from(chunk));
      got += chunk.byteLength;
      if (got >= size) break;
    }
  } catch (error) {
    // Of another library's own error nothing is known but that it refuses the stream.
    if (compression !== 'zstd' && !isTsbuildError(error, 'ARCHIVE_INVALID')) throw error;
  }
  return Buffer.concat(taken).subarray(0, size);
}

function headOf(compression: Compression, all: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  if (compression === 'zstd') return unzstd(all);
  // What wants too much memory for all of it is an archive still; a beginning takes little.
  return compression === 'xz' ? throughTool('xz', all, ['-dc']) : decompress(all);
}

/** Of a gzip stream, so much is looked at for its first bytes. */
const GZIP_HEAD = 64 << 10;

/** why not a stream: one that fails forgets what it has given out and nobody has taken yet. */
function gunzipBeginning(bytes: Uint8Array, size: number): Uint8Array {
  const options = { finishFlush: constants.Z_SYNC_FLUSH };
  const tryFirst = (count: number): Uint8Array | undefined => {
    try {
      return gunzipSync(bytes.subarray(0, count), options);
    } catch {
      return undefined;
    }
  };
  // The longest beginning that is whole: none that is longer is.
  let [whole, damaged] = [0, bytes.byteLength + 1];
  let found: Uint8Array = Buffer.alloc(0);
  while (damaged - whole > 1 && found.byteLength < size) {
    const middle = Math.min(whole === 0 ? 64 : 2 * whole, Math.ceil((whole + damaged) / 2));
    const made = tryFirst(middle);
    if (made === undefined) damaged = middle;
    else [whole, found] = [middle, made];
  }
  return found.subarray(0, size);
}

/** The first `size` bytes (fewer at the end) and the whole stream again. */
export async function peekHead(
  source: AsyncIterable<Uint8Array>,
  size: number,
): Promise<{ readonly head: Uint8Array; readonly all: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const taken: Uint8Array[] = [];
  let got = 0;
  while (got < size) {
    const next = await iterator.next();
    if (next.done === true) break;
    // why: the source may reuse its buffer once it is asked for more.
    taken.push(Uint8Array.from(next.value));
    got += next.value.byteLength;
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      yield* taken;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(taken).subarray(0, size), all: all() };
}

async function* gunzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const unzip = createGunzip({ chunkSize: CHUNK });
  const done = pipeline(Readable.from(source, { objectMode: false, highWaterMark: CHUNK }), unzip);
  // why: an error reaches the reader through `unzip`; without this it would be unhandled as well.
  done.catch(() => undefined);
  for await (const chunk of unzip) yield chunk as Uint8Array;
  await done;
}

let zstdFound: boolean | undefined;

function hasZstd(): boolean {
  return (zstdFound ??= spawnSync('zstd', ['--version'], { stdio: 'ignore' }).status === 0);
}

/** Without any program. Exported for tests: both ways must agree. */
export async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { Decompress } = await import('fzstd');
  const out: Uint8Array[] = [];
  const stream = new Decompress((chunk) => void out.push(chunk));
  for await (const chunk of source) {
    let refused: Error | undefined;
    try {
      stream.push(chunk);
    } catch (error) {
      refused = error instanceof Error ? error : new Error(String(error));
    }
    // What comes before the damage is told.
    yield* out.splice(0);
    if (refused !== undefined) throw refused;
  }
  stream.push(new Uint8Array(), true);
  yield* out;
}

/** why: a file says itself how much memory it wants, 65 MiB by the presets of xz; zstd has a limit of its own. */
const TOOL_ARGUMENTS = {
  xz: ['-dc', '--memlimit-decompress=128MiB'],
  bzip2: ['-dc'],
  zstd: ['-dc'],
} as const;

async function* throughTool(
  name: keyof typeof TOOL_ARGUMENTS,
  source: AsyncIterable<Uint8Array>,
  args: readonly string[] = TOOL_ARGUMENTS[name],
): AsyncGenerator<Uint8Array> {
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint = (complaint + data.toString()).slice(0, 4096)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  ended.catch(() => undefined);
  let refused: unknown;
  const fed = pipeline(Readable.from(source, { objectMode: false }), child.stdin).catch((error: unknown) => {
    // The tool may stop reading before the end; what it says about that is the better message.
    if (errnoOf(error) !== 'EPIPE') refused = error;
  });
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const code = await ended.catch(() => {
      throw new TsbuildError('IO_FAILED', `cannot decompress (${name}): there is no ${name} program`, {
        hint: `install the package that has ${name}`,
      });
    });
    await fed;
    if (refused instanceof Error) throw refused;
    if (code !== 0)
      throw new TsbuildError('ARCHIVE_INVALID', `cannot decompress (${name}): ${complaint.trim()}`);
  } finally {
    child.kill();
  }
}

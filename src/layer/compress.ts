/**
 * Compression of layers: in blocks of a fixed size, each on its own, so that the bytes are the same whatever the
 * number of cores. One call of tsbuild-tree per layer does it with libdeflate (gzip) and libzstd; where that was built
 * without them, gzip is node:zlib's (gzip-blocks.ts).
 *
 * Engines and their versions make different bytes: what is remembered of a layer's blobs goes by engine and level.
 */
import { closeSync, writeSync } from 'node:fs';
import { createDigester, type Digest } from '../base/digest.ts';
import { ioError, isTsbuildError, TsbuildError } from '../base/errors.ts';
import { callTree } from '../../native/tree.ts';
import { gzipBlocks, NODE_ENGINE } from './gzip-blocks.ts';
import type { GrownTo, Layer } from './layer.ts';
import { openTar } from './open-tar.ts';
import { LEVELS, type CompressedForm } from './layer-form.ts';

export interface Compressor {
  /** Form, engine with its version, and level: a name for what it makes. */
  readonly name: string;
  /**
   * Writes the compressed layer to `to`, an open file that stays the caller's. `onWritten` is told how many bytes lie
   * there, as it goes. Throws DISK_FULL, IO_FAILED, ABORTED.
   */
  readonly compress: (layer: Layer, to: number, options: CompressOptions) => Promise<Compressed>;
  /**
   * The same of a layer that is still being packed, from an open file of its tar, which stays the caller's; fewer threads
   * work on it meanwhile. Throws what `sizes` throws as well. undefined: this engine cannot.
   */
  readonly compressGrowing?: (
    from: number,
    sizes: AsyncIterable<GrownTo>,
    to: number,
    options: CompressOptions,
  ) => Promise<Compressed>;
}

export interface CompressOptions {
  readonly signal: AbortSignal;
  readonly onWritten?: (size: number) => void;
  /** Default: as many as there are processors. */
  readonly threads?: number;
}

export interface Compressed {
  readonly digest: Digest;
  readonly size: number;
}

/** Of the call (native/tree/compress.c), and of a size (growth.h). */
const GROWS = 1;
const GROWTH_END = 1n << 63n;
const FORM_NUMBERS: Readonly<Record<CompressedForm, number>> = { gzip: 1, zstd: 2 };

/** Throws NATIVE_MISSING where nothing here compresses to that form. */
export async function createCompressor(
  form: CompressedForm,
  level = LEVELS[form].usual,
): Promise<Compressor> {
  const engine = (await nativeEngines()).get(form);
  if (engine !== undefined)
    return {
      name: `${form}-${engine}-${level}`,
      compress: (layer, to, options) => compressNatively(form, level, layer, to, options),
      compressGrowing: (from, sizes, to, options) => compressGrowing(form, level, from, sizes, to, options),
    };
  if (form === 'gzip')
    return {
      name: `${form}-${NODE_ENGINE}-${level}`,
      compress: (layer, to, options) => compressHere(level, layer, to, options),
    };
  throw new TsbuildError(
    'NATIVE_MISSING',
    `cannot compress with ${form}: tsbuild was built without its library`,
    {
      hint: 'install the package libzstd-dev (or zstd-devel, zstd-static) and run "npm run build" in the tsbuild package',
    },
  );
}

let engines: Promise<ReadonlyMap<string, string>> | undefined;

/** Form → engine, of those that were there when the native program was built. */
export function nativeEngines(): Promise<ReadonlyMap<string, string>> {
  return (engines ??= askEngines());
}

async function askEngines(): Promise<ReadonlyMap<string, string>> {
  try {
    const answer = await callTree({
      job: 'engines',
      request: new Uint8Array(),
      descriptors: [],
      what: 'ask for compressors',
    });
    const lines = answer.toString('utf8').split('\n');
    return new Map(lines.map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)]));
  } catch (error) {
    if (isTsbuildError(error, 'NATIVE_MISSING')) return new Map();
    throw error;
  }
}

async function compressNatively(
  form: CompressedForm,
  level: number,
  layer: Layer,
  to: number,
  options: CompressOptions,
): Promise<Compressed> {
  if (layer.path === undefined) throw new RangeError(`layer ${layer.diffID} is no file`);
  const from = openTar(layer.path);
  try {
    const { read, made } = await callCompress(requestOf(form, level, options, 0), [from, to], options);
    if (read !== layer.size)
      throw new TsbuildError('SIZE_MISMATCH', `layer ${layer.diffID} has ${read} bytes, not ${layer.size}`);
    return made;
  } finally {
    closeSync(from);
  }
}

async function compressGrowing(
  form: CompressedForm,
  level: number,
  from: number,
  sizes: AsyncIterable<GrownTo>,
  to: number,
  options: CompressOptions,
): Promise<Compressed> {
  let whole = 0;
  async function* words(): AsyncGenerator<Uint8Array> {
    for await (const { size, isWhole } of sizes) {
      whole = size;
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE(BigInt(size) | (isWhole ? GROWTH_END : 0n));
      yield word;
    }
  }
  const request = requestOf(form, level, options, GROWS);
  const { read, made } = await callCompress(request, [from, to], options, words());
  if (read !== whole) throw new TsbuildError('SIZE_MISMATCH', `a layer has ${read} bytes, not ${whole}`);
  return made;
}

function requestOf(
  form: CompressedForm,
  level: number,
  { threads = 0 }: CompressOptions,
  flags: number,
): Uint8Array {
  const request = Buffer.alloc(16);
  for (const [index, word] of [FORM_NUMBERS[form], level, threads, flags].entries())
    request.writeUInt32LE(word, 4 * index);
  return request;
}

/** What came out, and how many bytes were read for it. */
async function callCompress(
  request: Uint8Array,
  descriptors: readonly number[],
  { signal, onWritten }: CompressOptions,
  input?: AsyncIterable<Uint8Array>,
): Promise<{ readonly made: Compressed; readonly read: number }> {
  const answer = await callTree({
    job: 'compress',
    request,
    descriptors,
    signal,
    what: 'compress a layer',
    ...(input === undefined ? {} : { input }),
    ...(onWritten === undefined ? {} : { onProgress: onWritten }),
  });
  const digest = `sha256:${answer.toString('hex', 0, 32)}` as Digest;
  const made = { digest, size: Number(answer.readBigUInt64LE(32)) };
  return { made, read: Number(answer.readBigUInt64LE(40)) };
}

async function compressHere(
  level: number,
  layer: Layer,
  to: number,
  { signal, onWritten }: CompressOptions,
): Promise<Compressed> {
  const digester = createDigester();
  for await (const chunk of gzipBlocks(layer.tar(), level)) {
    if (signal.aborted) throw new TsbuildError('ABORTED', 'the build was aborted');
    digester.update(chunk);
    try {
      for (let at = 0; at < chunk.byteLength; ) at += writeSync(to, chunk, at);
    } catch (error) {
      throw ioError('write a compressed layer', error);
    }
    onWritten?.(digester.size);
  }
  return { digest: digester.digest(), size: digester.size };
}

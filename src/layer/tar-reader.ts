/**
 * The reader of tars from outside: layers, archives of ADD, imports. Every archive is hostile until read.
 *
 * Understands v7, ustar, PAX (raw bytes, so binary xattrs survive) and GNU long names and base-256 numbers.
 * Sparse files come out with their holes filled (sparse.ts). Names come out relative, clean and confined: `..` cannot
 * climb above the root, absolute names start at the root. Memory is bounded; nothing of an archive is trusted for
 * allocation.
 *
 * Spec: POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format".
 */
import { toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import {
  fillHoles,
  readParts,
  hasMapInContent,
  readGnuMap,
  readMapInContent,
  setSparseRecord,
  sparseFile,
  type FilePiece,
  type SparseFile,
  type SparseRecords,
} from './sparse.ts';
import { BLOCK, LONGEST_NAME, type TarEntry, type TarEntryType } from './tar-header.ts';

const SPARSE = 'GNU.sparse.';
/** PAX headers and GNU long names beyond this are refused. */
const MAX_META = 1 << 20;
/** Whoever unpacks remembers names: more of them than a machine has files would fill its memory. */
const MAX_ENTRIES = 1 << 21;
const MAX_NAMES = 1 << 29;

export interface TarItem {
  readonly entry: TarEntry;
  /** The content, where all of it was at hand; valid until the next item. */
  readonly bytes: Uint8Array | undefined;
  /** Bytes of it that the archive holds: fewer than its size where it has holes. */
  readonly stored: number;
  /** The content; may be iterated once, before the next item is asked for. What is not read is skipped. */
  readonly body: () => AsyncIterable<Uint8Array>;
  /** The same without its holes, in order: for whoever can seek. Instead of `body`. */
  readonly pieces: () => AsyncIterable<FilePiece>;
}

interface Meta {
  path?: ByteString;
  linkpath?: ByteString;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  xattrs?: Map<string, Uint8Array>;
  sparse?: SparseRecords;
}

export interface TarLimits {
  readonly maxEntries?: number;
  /** Bytes of all names together. */
  readonly maxNames?: number;
}

/** Reads to the end-of-archive blocks (or the end of the stream after an entry). Throws ARCHIVE_INVALID. */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  { maxEntries = MAX_ENTRIES, maxNames = MAX_NAMES }: TarLimits = {},
): AsyncGenerator<TarItem> {
  const input = createInput(source);
  let meta: Meta = {};
  let entries = 0;
  let names = 0;
  for (;;) {
    const block = await input.take(BLOCK);
    if (block === undefined || isZero(block)) break;
    checkSum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = meta.size ?? number(block, 124, 12);
    if (size < 0) throw invalid('a negative size');
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      meta = readMeta(flag, await takeMeta(input, size), meta);
      continue;
    }
    // why: a block is valid until more is read, as the map of a sparse file is.
    const header = flag === 'S' || meta.sparse !== undefined ? Uint8Array.from(block) : block;
    const sparse = await sparseOf(header, flag, size, meta, input);
    const entry = entryOf(header, flag, sparse?.file.size ?? size, meta);
    meta = {};
    if (entry === undefined) {
      await input.skip(padded(size));
      continue;
    }
    entries += 1;
    names += entry.path.length;
    if (entries > maxEntries) throw invalid(`more than ${maxEntries} entries`);
    if (names > maxNames) throw invalid(`more than ${maxNames} bytes of names`);
    // why: a file whose name ends in `/` is a directory, but its content lies in the archive all the same.
    const stored = TYPES.get(flag) === 'file' ? size - (sparse?.taken ?? 0) : 0;
    let left = stored;
    const bytes = entry.type === 'file' && sparse === undefined ? input.peek(left) : undefined;
    const read = async (max: number): Promise<Uint8Array> => {
      const chunk = await input.some(max);
      if (chunk === undefined) throw invalid(`the archive ends inside ${JSON.stringify(toText(entry.path))}`);
      left -= chunk.byteLength;
      return chunk;
    };
    const plain = async function* (): AsyncGenerator<Uint8Array> {
      while (left > 0) yield await read(left);
    };
    const pieces = (): AsyncGenerator<FilePiece> =>
      readParts(sparse?.file.parts ?? [{ offset: 0, size: stored }], read);
    const body = sparse === undefined ? plain : () => fillHoles(pieces(), sparse.file.size);
    yield { entry, bytes, stored, body, pieces };
    if (!(await input.skip(left + padded(stored) - stored)))
      throw invalid(`the archive ends inside ${JSON.stringify(toText(entry.path))}`);
  }
  await input.drain();
}

function invalid(what: string): TsbuildError {
  return new TsbuildError('ARCHIVE_INVALID', `cannot read the archive: ${what}`);
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function isZero(block: Uint8Array): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

function checkSum(block: Uint8Array): void {
  let sum = 8 * 0x20;
  let signed = sum;
  for (let i = 0; i < BLOCK; i += 1) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    sum += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stated = number(block, 148, 8);
  if (stated !== sum && stated !== signed) throw invalid('a header with a wrong checksum');
}

/** Whether the first block of something is a tar header. */
export function looksLikeTar(block: Uint8Array): boolean {
  if (block.byteLength < BLOCK || isZero(block.subarray(0, BLOCK))) return false;
  try {
    checkSum(block.subarray(0, BLOCK));
    return true;
  } catch {
    return false;
  }
}

function text(block: Uint8Array, at: number, length: number): ByteString {
  const field = Buffer.from(block.buffer, block.byteOffset + at, length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end < 0 ? length : end);
}

/** Octal, or base-256 where the first bit is set (GNU). */
function number(block: Uint8Array, at: number, length: number): number {
  const first = block[at] ?? 0;
  if (first >= 0x80) {
    let value = BigInt(first & 0x7f);
    if (first === 0xff) value = -1n;
    for (let i = at + 1; i < at + length; i += 1) value = value * 256n + BigInt(block[i] ?? 0);
    const result = Number(value);
    if (!Number.isSafeInteger(result)) throw invalid('a number that is too large');
    return result;
  }
  const digits = text(block, at, length).trim();
  if (digits === '') return 0;
  if (!/^-?[0-7]+$/.test(digits))
    throw invalid(`a number that is not octal: ${JSON.stringify(toText(digits))}`);
  return parseInt(digits, 8);
}

async function takeMeta(input: Input, size: number): Promise<Buffer> {
  if (size > MAX_META) throw invalid(`an extended header of ${size} bytes; at most ${MAX_META} are read`);
  const bytes = size === 0 ? new Uint8Array() : await input.take(padded(size));
  if (bytes === undefined) throw invalid('it ends inside an extended header');
  return Buffer.from(bytes.subarray(0, size));
}

function readMeta(flag: string, body: Buffer, before: Meta): Meta {
  if (flag === 'L') return { ...before, path: cString(body) };
  if (flag === 'K') return { ...before, linkpath: cString(body) };
  const meta = parsePax(body);
  // why: a global header is for all that follows; only its harmless comment form exists in practice (git archive).
  return flag === 'g' ? before : { ...before, ...meta };
}

function cString(body: Buffer): ByteString {
  const end = body.indexOf(0);
  return body.toString('latin1', 0, end < 0 ? body.byteLength : end);
}

function parsePax(body: Buffer): Meta {
  const meta: Meta = {};
  for (let at = 0; at < body.byteLength; ) {
    const space = body.indexOf(0x20, at);
    const length = lengthOf(space < 0 ? '' : body.toString('latin1', at, space));
    const end = at + length;
    const equals = body.indexOf(0x3d, space);
    if (
      !Number.isSafeInteger(length) ||
      end > body.byteLength ||
      end <= space + 1 ||
      equals < 0 ||
      equals >= end
    )
      throw invalid('a malformed extended header');
    setPax(meta, body.toString('latin1', space + 1, equals), body.subarray(equals + 1, end - 1));
    at = end;
  }
  return meta;
}

function lengthOf(digits: string): number {
  return /^\d+$/.test(digits) ? Number(digits) : NaN;
}

function setPax(meta: Meta, keyword: string, value: Buffer): void {
  const asText = (): string => value.toString('latin1');
  // An empty value takes back what a header before said; only an xattr may be empty.
  if (value.byteLength === 0 && !keyword.startsWith('SCHILY.xattr.')) return;
  if (keyword === 'path') meta.path = asText();
  else if (keyword === 'linkpath') meta.linkpath = asText();
  else if (keyword === 'size') meta.size = integer(asText());
  else if (keyword === 'uid') meta.uid = integer(asText());
  else if (keyword === 'gid') meta.gid = integer(asText());
  else if (keyword === 'mtime') meta.mtime = seconds(asText());
  else if (keyword.startsWith('SCHILY.xattr.'))
    (meta.xattrs ??= new Map()).set(keyword.slice('SCHILY.xattr.'.length), Uint8Array.from(value));
  else if (keyword.startsWith(SPARSE))
    setSparseRecord((meta.sparse ??= { version: {} }), keyword.slice(SPARSE.length), asText(), integer);
}

function integer(digits: string): number {
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || !Number.isSafeInteger(value))
    throw invalid(`not a number: ${JSON.stringify(toText(digits.slice(0, 31)))}`);
  return value;
}

/** Whole seconds of a decimal number; what is no such number is the epoch. */
function seconds(digits: string): number {
  return /^-?\d{1,15}(\.\d*)?$/.test(digits) ? Math.floor(Number(digits)) : 0;
}

const TYPES: ReadonlyMap<string, TarEntryType> = new Map([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['S', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['3', 'char'],
  ['4', 'block'],
  ['5', 'directory'],
  ['6', 'fifo'],
]);

/** undefined: a file without holes. `taken`: bytes of the content that were its map, and have been read. */
async function sparseOf(
  header: Uint8Array,
  flag: string,
  size: number,
  { sparse }: Meta,
  input: Input,
): Promise<{ readonly file: SparseFile; readonly taken: number } | undefined> {
  const next = async (): Promise<Uint8Array> => {
    const block = await input.take(BLOCK);
    if (block === undefined) throw invalid('it ends inside the map of a sparse file');
    return block;
  };
  if (flag === 'S') {
    const gnu = await readGnuMap(header, number, next);
    return { file: sparseFile(gnu.size, gnu.map, size), taken: 0 };
  }
  if (sparse === undefined || TYPES.get(flag) !== 'file') return undefined;
  if (!hasMapInContent(sparse)) return { file: sparseFile(sparse.size, sparse.map ?? [], size), taken: 0 };
  const { map, taken } = await readMapInContent(integer, next);
  return { file: sparseFile(sparse.size, map, size - taken), taken };
}

/** undefined: an entry that says nothing about files (a volume label). */
function entryOf(block: Uint8Array, flag: string, size: number, meta: Meta): TarEntry | undefined {
  if (flag === 'V') return undefined;
  // why: where ustar has its prefix, the map of a sparse file stands.
  const isUstar = text(block, 257, 5) === 'ustar' && flag !== 'S';
  const prefix = isUstar && text(block, 257, 8) !== 'ustar  ' ? text(block, 345, 155) : '';
  const name =
    meta.sparse?.name ??
    meta.path ??
    (prefix === '' ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
  let type = TYPES.get(flag);
  if (type === undefined)
    throw invalid(`entry ${JSON.stringify(toText(name))} has the unknown type ${JSON.stringify(flag)}`);
  if (type === 'file' && name.endsWith('/')) type = 'directory';
  const link = meta.linkpath ?? text(block, 157, 100);
  if (name.length > LONGEST_NAME || link.length > LONGEST_NAME)
    throw invalid(`a name of ${Math.max(name.length, link.length)} bytes`);
  if (name.includes('\0') || link.includes('\0')) throw invalid('a name with a NUL byte');
  const device = type === 'char' || type === 'block';
  return {
    path: confine(name),
    type,
    mode: number(block, 100, 8) & 0o7777,
    uid: meta.uid ?? number(block, 108, 8),
    gid: meta.gid ?? number(block, 116, 8),
    size: type === 'file' ? size : 0,
    mtime: meta.mtime ?? number(block, 136, 12),
    ...(type === 'symlink' ? { linkname: link } : {}),
    ...(type === 'hardlink' ? { linkname: confine(link) } : {}),
    ...(device ? { major: number(block, 329, 8), minor: number(block, 337, 8) } : {}),
    ...(meta.xattrs === undefined ? {} : { xattrs: meta.xattrs }),
  };
}

/** A relative clean path that cannot climb above its root. `''` is the root. */
export function confine(name: ByteString): ByteString {
  if (!/(^|\/)\.{0,2}(\/|$)/.test(name)) return name;
  const clean: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') clean.pop();
    else if (part !== '' && part !== '.') clean.push(part);
  }
  return clean.join('/');
}

interface Input {
  /** Exactly `size` bytes; undefined at the end of the stream. Throws where the stream ends in between. */
  take(size: number): Promise<Uint8Array | undefined>;
  /** Some bytes, at most `max`; undefined at the end. */
  some(max: number): Promise<Uint8Array | undefined>;
  /** The next `size` bytes without consuming them, where they are at hand already. */
  peek(size: number): Uint8Array | undefined;
  /** false where the stream ended before. */
  skip(size: number): Promise<boolean>;
  drain(): Promise<void>;
}

function createInput(source: AsyncIterable<Uint8Array>): Input {
  const iterator = source[Symbol.asyncIterator]();
  let chunk: Uint8Array = new Uint8Array();
  let at = 0;

  async function more(): Promise<boolean> {
    while (at >= chunk.byteLength) {
      const next = await iterator.next();
      if (next.done === true) return false;
      chunk = next.value;
      at = 0;
    }
    return true;
  }

  async function some(max: number): Promise<Uint8Array | undefined> {
    if (at >= chunk.byteLength && !(await more())) return undefined;
    const part = chunk.subarray(at, Math.min(chunk.byteLength, at + max));
    at += part.byteLength;
    return part;
  }

  return {
    some,
    async take(size) {
      if (chunk.byteLength - at >= size) {
        at += size;
        return chunk.subarray(at - size, at);
      }
      const parts: Uint8Array[] = [];
      let got = 0;
      while (got < size) {
        const part = await some(size - got);
        if (part === undefined) {
          if (got === 0) return undefined;
          throw invalid('it ends in the middle of a header');
        }
        parts.push(part);
        got += part.byteLength;
      }
      return Buffer.concat(parts);
    },
    peek: (size) => (chunk.byteLength - at >= size ? chunk.subarray(at, at + size) : undefined),
    async skip(size) {
      for (let left = size; left > 0; ) {
        const part = await some(left);
        if (part === undefined) return false;
        left -= part.byteLength;
      }
      return true;
    },
    async drain() {
      while (await more()) at = chunk.byteLength;
    },
  };
}

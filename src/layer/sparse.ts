/**
 * Sparse files in tars: which parts of a file the archive holds, and the file that they make together with its holes.
 *
 * GNU's own form (type `S`) and the PAX forms 0.0, 0.1 and 1.0, which GNU tar and bsdtar write. What a map says is
 * checked before it is used: its parts lie in the file, in order, and are all that the archive holds of it. How large
 * the file is with its holes is anybody's claim: whoever writes it down asks whether there is room.
 *
 * Spec: GNU tar manual, "Storing Sparse Files".
 */
import { TsbuildError } from '../base/errors.ts';
import type { ByteString } from '../base/byte-string.ts';

export interface SparsePart {
  readonly offset: number;
  readonly size: number;
}

/** Some of a file's content, and where it goes. */
export interface FilePiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface SparseFile {
  /** With its holes. */
  readonly size: number;
  readonly parts: readonly SparsePart[];
}

/** What PAX records say of a sparse file. */
export interface SparseRecords {
  readonly version: { major?: string; minor?: string };
  name?: ByteString;
  size?: number;
  /** Offsets and sizes in turns; of 1.0 they precede the content. */
  map?: number[];
}

/** More parts than this are in no file that a person made; they are kept in memory. */
const MAX_PARTS = 1 << 20;
const BLOCK = 512;
const FIELD = 12;
const HOLE = new Uint8Array(1 << 20);

function invalid(what: string): TsbuildError {
  return new TsbuildError('ARCHIVE_INVALID', `cannot read the archive: ${what}`);
}

/** Sets what one record says; `integer` reads a decimal number or throws. */
export function setSparseRecord(
  records: SparseRecords,
  keyword: string,
  value: string,
  integer: (digits: string) => number,
): void {
  if (keyword === 'major') records.version.major = value;
  else if (keyword === 'minor') records.version.minor = value;
  else if (keyword === 'name') records.name = value;
  else if (keyword === 'size' || keyword === 'realsize') records.size = integer(value);
  else if (keyword === 'map') records.map = value.split(',').map(integer);
  else if (keyword === 'offset' || keyword === 'numbytes') (records.map ??= []).push(integer(value));
}

/** Whether the map stands before the content. Throws ARCHIVE_INVALID where nobody knows the version. */
export function hasMapInContent({ version: { major, minor }, map }: SparseRecords): boolean {
  if (major === '1' && minor === '0') return true;
  if (major === undefined && minor === undefined && map !== undefined) return false;
  if (major === '0' && (minor === '0' || minor === '1')) return false;
  throw invalid(`a sparse file of version ${JSON.stringify(`${major ?? ''}.${minor ?? ''}`)}`);
}

/** `stored`: bytes of content in the archive. Throws ARCHIVE_INVALID. */
export function sparseFile(size: number | undefined, map: readonly number[], stored: number): SparseFile {
  if (size === undefined || map.length % 2 !== 0) throw invalid('a sparse file without its size or its map');
  const parts: SparsePart[] = [];
  let end = 0;
  let held = 0;
  for (let i = 0; i < map.length; i += 2) {
    const part = { offset: map[i] ?? 0, size: map[i + 1] ?? 0 };
    if (part.offset < end || part.size < 0 || part.offset + part.size > size)
      throw invalid('a sparse file whose parts do not lie in it in order');
    end = part.offset + part.size;
    held += part.size;
    parts.push(part);
  }
  if (held !== stored)
    throw invalid(`a sparse file of which ${held} bytes should be there, and ${stored} are`);
  return { size, parts };
}

/** The map in GNU's own header; `next` gives the blocks that continue it. */
export async function readGnuMap(
  header: Uint8Array,
  number: (block: Uint8Array, at: number, length: number) => number,
  next: () => Promise<Uint8Array>,
): Promise<{ readonly size: number; readonly map: readonly number[] }> {
  const map: number[] = [];
  const take = (block: Uint8Array, at: number, count: number): void => {
    for (let i = at; i < at + 2 * FIELD * count; i += 2 * FIELD) {
      if (block[i] === 0) return;
      map.push(number(block, i, FIELD), number(block, i + FIELD, FIELD));
    }
    if (map.length > 2 * MAX_PARTS) throw invalid(`a sparse file of more than ${MAX_PARTS} parts`);
  };
  take(header, 386, 4);
  for (let continues = header[482]; continues !== undefined && continues !== 0; ) {
    const block = await next();
    take(block, 0, 21);
    continues = block[504];
  }
  return { size: number(header, 483, FIELD), map };
}

/** The map before the content, in lines: how many parts, then the offset and the size of each. */
export async function readMapInContent(
  integer: (digits: string) => number,
  next: () => Promise<Uint8Array>,
): Promise<{ readonly map: readonly number[]; readonly taken: number }> {
  const numbers: number[] = [];
  let line = '';
  for (let taken = BLOCK; ; taken += BLOCK) {
    const lines = (line + Buffer.from(await next()).toString('latin1')).split('\n');
    line = lines.pop() ?? '';
    for (const each of lines) {
      numbers.push(integer(each));
      const [count = 0] = numbers;
      if (count > MAX_PARTS) throw invalid(`a sparse file of more than ${MAX_PARTS} parts`);
      if (numbers.length === 1 + 2 * count) return { map: numbers.slice(1), taken };
    }
    if (line.length > BLOCK) throw invalid('a sparse file with a malformed map');
  }
}

/** What the archive holds of it; `read` gives some of that, at most so many bytes. */
export async function* readParts(
  parts: readonly SparsePart[],
  read: (max: number) => Promise<Uint8Array>,
): AsyncGenerator<FilePiece> {
  for (const part of parts)
    for (let at = 0; at < part.size; ) {
      const bytes = await read(part.size - at);
      yield { offset: part.offset + at, bytes };
      at += bytes.byteLength;
    }
}

/** All of a file of so many bytes, zeros where `pieces` leave holes. */
export async function* fillHoles(pieces: AsyncIterable<FilePiece>, size: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  const zeros = function* (end: number): Generator<Uint8Array> {
    for (; at < end; at = Math.min(at + HOLE.byteLength, end))
      yield HOLE.subarray(0, Math.min(HOLE.byteLength, end - at));
  };
  for await (const { offset, bytes } of pieces) {
    yield* zeros(offset);
    yield bytes;
    at = offset + bytes.byteLength;
  }
  yield* zeros(size);
}

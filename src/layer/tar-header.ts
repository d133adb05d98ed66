/**
 * Tar headers: 512 bytes of ustar, preceded by a PAX header only where a value does not fit.
 *
 * One encoding per entry, so that layers are deterministic: no uname or gname, no atime or ctime, whole seconds,
 * PAX records sorted by keyword. GNU tar, bsdtar and Go's archive/tar read it.
 *
 * Spec: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; SCHILY.xattr as star(1) has it.
 */
import type { ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';

export const BLOCK = 512;
/** Bytes of a name, a directory's with its `/`. Linux takes no longer paths (PATH_MAX), so no archive needs them. */
export const LONGEST_NAME = 4096;

export type TarEntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

export interface TarEntry {
  /** Relative, `/`-separated, no leading or trailing `/`, no `.` or `..` components. */
  readonly path: ByteString;
  readonly type: TarEntryType;
  /** 0o7777 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content; 0 unless it is a file. */
  readonly size: number;
  /** Seconds since the epoch, whole. */
  readonly mtime: number;
  /** Target of a symlink as it is; path of the earlier entry for a hard link. */
  readonly linkname?: ByteString;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

const TYPE_FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;

/** All header bytes of an entry: its PAX header, if it needs one, and its ustar block. */
export function encodeHeader(entry: TarEntry): Buffer {
  const name = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  const linkname = entry.linkname ?? '';
  if (name.includes('\0') || linkname.includes('\0'))
    throw new TsbuildError(
      'ARCHIVE_INVALID',
      `cannot write ${JSON.stringify(entry.path)} into a layer: NUL in its name`,
    );
  const length = Math.max(name.length, linkname.length);
  if (length > LONGEST_NAME) throw tooLong(length);
  const records = paxRecords(entry, name, linkname);
  const block = ustarBlock(entry, name, linkname);
  if (records.length === 0) return block;
  const body = Buffer.concat(records);
  const pax = ustarBlock(
    { path: '', type: 'file', mode: 0o644, uid: 0, gid: 0, size: body.byteLength, mtime: 0 },
    paxName(entry.path),
    '',
    'x',
  );
  return Buffer.concat([pax, body, padding(body.byteLength), block]);
}

/** It could be written, and nobody would read it. */
export function tooLong(length: number): TsbuildError {
  return new TsbuildError(
    'ARCHIVE_INVALID',
    `cannot write a name of ${length} bytes into a layer: ${LONGEST_NAME} are the most`,
  );
}

export function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

function paxName(path: ByteString): string {
  const slash = path.lastIndexOf('/');
  const base = path.slice(slash + 1);
  return `PaxHeaders.0/${toAscii(base).slice(0, 80)}`;
}

function toAscii(name: ByteString): string {
  return name.replace(/[^\u0020-\u007e]/g, '_');
}

function paxRecords(entry: TarEntry, name: ByteString, linkname: ByteString): Buffer[] {
  const records: [string, Buffer][] = [];
  const text = (keyword: string, value: string): void =>
    void records.push([keyword, Buffer.from(value, 'latin1')]);
  if (splitName(name) === undefined) text('path', name);
  if (linkname.length > 100 || !isPlain(linkname)) text('linkpath', linkname);
  if (entry.size > MAX_OCTAL_11) text('size', `${entry.size}`);
  if (entry.uid > MAX_OCTAL_7) text('uid', `${entry.uid}`);
  if (entry.gid > MAX_OCTAL_7) text('gid', `${entry.gid}`);
  if (entry.mtime < 0 || entry.mtime > MAX_OCTAL_11) text('mtime', `${entry.mtime}`);
  for (const [attribute, value] of entry.xattrs ?? [])
    records.push([`SCHILY.xattr.${attribute}`, Buffer.from(value)]);
  return records.sort(([a], [b]) => (a < b ? -1 : 1)).map(([keyword, value]) => paxRecord(keyword, value));
}

/** `LENGTH KEYWORD=VALUE\n`, where LENGTH counts itself. */
function paxRecord(keyword: string, value: Buffer): Buffer {
  const rest = keyword.length + value.byteLength + 3;
  let length = rest + `${rest}`.length;
  if (`${length}`.length !== `${rest}`.length) length = rest + `${length}`.length;
  return Buffer.concat([Buffer.from(`${length} ${keyword}=`, 'latin1'), value, Buffer.from('\n')]);
}

function isPlain(text: ByteString): boolean {
  return /^[\u0001-\u007f]*$/.test(text);
}

/** ustar's two name fields; undefined where the name does not fit or is not ASCII. */
function splitName(name: ByteString): { readonly prefix: string; readonly name: string } | undefined {
  if (!isPlain(name)) return undefined;
  if (name.length <= 100) return { prefix: '', name };
  if (name.length > 256) return undefined;
  const slash = name.lastIndexOf('/', Math.min(155, name.length - 2));
  if (slash <= 0 || name.length - slash - 1 > 100) return undefined;
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) };
}

function ustarBlock(entry: TarEntry, name: ByteString, linkname: ByteString, flag?: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const parts = splitName(name) ?? { prefix: '', name: name.slice(0, 100) };
  put(block, parts.name, 0, 100);
  put(block, octal(entry.mode & 0o7777, 7), 100);
  put(block, octal(fit(entry.uid, MAX_OCTAL_7), 7), 108);
  put(block, octal(fit(entry.gid, MAX_OCTAL_7), 7), 116);
  put(block, octal(fit(entry.size, MAX_OCTAL_11), 11), 124);
  put(block, octal(fit(Math.max(0, entry.mtime), MAX_OCTAL_11), 11), 136);
  put(block, flag ?? TYPE_FLAGS[entry.type], 156);
  put(block, linkname.slice(0, 100), 157, 100);
  put(block, 'ustar\u000000', 257);
  if (entry.type === 'char' || entry.type === 'block') {
    put(block, octal(entry.major ?? 0, 7), 329);
    put(block, octal(entry.minor ?? 0, 7), 337);
  }
  put(block, parts.prefix, 345, 155);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  put(block, `${octal(sum, 6)}\0 `, 148);
  return block;
}

function fit(value: number, max: number): number {
  return value > max ? 0 : value;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function put(block: Buffer, text: ByteString, at: number, length = text.length): void {
  block.write(text, at, length, 'latin1');
}

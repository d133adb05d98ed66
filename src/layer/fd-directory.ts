/**
 * An open directory: every call is relative to its descriptor, through /proc/self/fd, and follows no symlink, so
 * that nobody who changes names meanwhile can lead it elsewhere.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  chmodSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { fsPath, type ByteString } from '../base/byte-string.ts';
import { getXattr, setTimeNs } from '../../native/sys.ts';
import type { EntryStat, EntryType, RootDirectory } from './tree.ts';

const O_DIRECTORY_ONLY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const O_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const O_NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

const TYPES: ReadonlyMap<number, EntryType> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
  [0o020000, 'char'],
  [0o060000, 'block'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
]);

export class FdDirectory implements RootDirectory {
  readonly #fd: number;
  readonly #prefix: string;
  #open = true;

  constructor(fd: number) {
    this.#fd = fd;
    this.#prefix = `/proc/self/fd/${fd}/`;
  }

  get descriptor(): number {
    return this.#fd;
  }

  stat(): EntryStat {
    return statOf(fstatSync(this.#fd, { bigint: true }));
  }

  names(): readonly ByteString[] {
    return readdirSync(this.#prefix, 'latin1').sort();
  }

  lstat(name: ByteString): EntryStat {
    return statOf(lstatSync(fsPath(this.#prefix, name), { bigint: true }));
  }

  lstatIfExists(name: ByteString): EntryStat | undefined {
    const stat = lstatSync(fsPath(this.#prefix, name), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : statOf(stat);
  }

  readlink(name: ByteString): ByteString {
    return readlinkSync(fsPath(this.#prefix, name), 'latin1');
  }

  open(name: ByteString): number {
    return openSync(fsPath(this.#prefix, name), O_FILE);
  }

  directory(name: ByteString): FdDirectory {
    return new FdDirectory(openSync(fsPath(this.#prefix, name), O_DIRECTORY_ONLY));
  }

  duplicate(): FdDirectory {
    return new FdDirectory(openSync(this.#prefix, constants.O_RDONLY | constants.O_DIRECTORY));
  }

  xattr(name: ByteString, attribute: string): Uint8Array | undefined {
    return getXattr(fsPath(this.#prefix, name), attribute);
  }

  makeDirectory(name: ByteString, mode: number): void {
    mkdirSync(fsPath(this.#prefix, name), { mode });
    // The umask took something away.
    if ((mode & 0o022) !== 0) chmodSync(fsPath(this.#prefix, name), mode);
  }

  makeFile(name: ByteString, mode: number): void {
    closeSync(openSync(fsPath(this.#prefix, name), O_NEW_FILE, mode));
  }

  makeSymlink(name: ByteString, target: ByteString): void {
    symlinkSync(fsPath('', target), fsPath(this.#prefix, name));
  }

  removeFile(name: ByteString): void {
    unlinkSync(fsPath(this.#prefix, name));
  }

  removeDirectory(name: ByteString): void {
    rmdirSync(fsPath(this.#prefix, name));
  }

  setTimeNs(timeNs: bigint): void {
    setTimeNs(`${this.#prefix}.`, timeNs);
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

interface BigStat {
  readonly mode: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly rdev: bigint;
}

function statOf(stat: BigStat): EntryStat {
  const mode = Number(stat.mode);
  const rdev = stat.rdev;
  return {
    type: TYPES.get(mode & 0o170000) ?? 'file',
    mode: mode & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    bornNs: stat.birthtimeNs,
    dev: Number(stat.dev),
    ino: Number(stat.ino),
    nlink: Number(stat.nlink),
    major: rdev === 0n ? 0 : Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    minor: rdev === 0n ? 0 : Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)),
  };
}

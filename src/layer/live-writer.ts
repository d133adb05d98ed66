/**
 * From a tar into a directory that others may change meanwhile: the root of a running container.
 *
 * Everything is reached by descriptors, one component at a time, through /proc/self/fd and O_NOFOLLOW, and made or
 * replaced by its last name alone: a directory that is swapped for a symlink while we write leads to an error, never
 * out of the root. (unpack.ts is for directories that nobody else writes, and follows links.)
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { fsPath, toText, type ByteString } from '../base/byte-string.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import { makeNode, setXattr } from '../../native/sys.ts';
import { setModified, setModifiedOpen } from './modified.ts';
import type { FilePiece } from './sparse.ts';
import type { TarEntry } from './tar-header.ts';
import type { TarItem } from './tar-reader.ts';

const O_DIRECTORY_ONLY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const O_NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Of fcntl.h; a descriptor that only names its file. */
const O_PATH = 0o10000000;

export interface LiveWriteOptions {
  /** Instead of the archive's owners. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly signal: AbortSignal;
}

/** A directory below `root` by its canonical path (no symlinks in it); the caller closes it. Throws IO_FAILED. */
export function openLiveDirectory(root: string, path: ByteString): number {
  let fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  for (const name of path.split('/').filter((part) => part !== '')) {
    const next = openBelow(fd, name);
    closeSync(fd);
    fd = next;
  }
  return fd;
}

function at(fd: number, name: ByteString): string | Buffer {
  return fsPath(`/proc/self/fd/${fd}/`, name);
}

function openBelow(fd: number, name: ByteString): number {
  try {
    return openSync(at(fd, name), O_DIRECTORY_ONLY);
  } catch (error) {
    throw ioError(`open directory ${JSON.stringify(toText(name))}`, error);
  }
}

/** Throws ARCHIVE_INVALID, DISK_FULL, IO_FAILED. `directory` stays the caller's. */
export async function writeLive(
  items: AsyncIterable<TarItem>,
  directory: number,
  options: LiveWriteOptions,
): Promise<void> {
  const writing = new LiveWriting(directory, options);
  try {
    for await (const item of items) {
      options.signal.throwIfAborted();
      try {
        await writing.add(item);
      } catch (error) {
        throw ioError(`write ${JSON.stringify(toText(item.entry.path))}`, error);
      }
    }
  } finally {
    writing.close();
  }
}

interface OpenDirectory {
  readonly name: ByteString;
  readonly fd: number;
  /** Seconds; set last, since every entry below changes it. */
  mtime: number | undefined;
}

class LiveWriting {
  readonly #root: number;
  readonly #options: LiveWriteOptions;
  /** From the root down to where the latest entry was. */
  readonly #stack: OpenDirectory[] = [];

  constructor(root: number, options: LiveWriteOptions) {
    this.#root = root;
    this.#options = options;
  }

  async add({ entry, pieces }: TarItem): Promise<void> {
    const names = entry.path.split('/').filter((part) => part !== '');
    const name = names.pop();
    const holder = this.#enter(names);
    if (name === undefined) {
      // The archive's root: the directory that it goes to is somebody else's.
      return;
    }
    if (entry.type === 'directory') this.#makeDirectory(holder, name, entry);
    else {
      clear(holder, name);
      if (entry.type === 'file') await this.#makeFile(holder, name, entry, pieces());
      else if (entry.type === 'hardlink') this.#makeLink(holder, name, entry);
      else this.#makeOther(holder, name, entry);
    }
  }

  /** Opens the directories on the way, made where they are missing. */
  #enter(names: readonly ByteString[]): number {
    let depth = 0;
    while (depth < names.length && this.#stack[depth]?.name === names[depth]) depth += 1;
    while (this.#stack.length > depth) this.#leave();
    for (const name of names.slice(depth)) {
      const holder = this.#stack.at(-1)?.fd ?? this.#root;
      if (lstatSync(at(holder, name), { throwIfNoEntry: false }) === undefined) {
        mkdirSync(at(holder, name), 0o755);
        this.#own(at(holder, name), { uid: 0, gid: 0 });
      }
      this.#stack.push({ name, fd: openBelow(holder, name), mtime: undefined });
    }
    return this.#stack.at(-1)?.fd ?? this.#root;
  }

  #leave(): void {
    const left = this.#stack.pop();
    if (left === undefined) return;
    if (left.mtime !== undefined) setModifiedOpen(left.fd, `/proc/self/fd/${left.fd}/.`, left.mtime);
    closeSync(left.fd);
  }

  close(): void {
    while (this.#stack.length > 0) this.#leave();
  }

  #ownerOf(entry: { readonly uid: number; readonly gid: number }): {
    readonly uid: number;
    readonly gid: number;
  } {
    return this.#options.owner ?? entry;
  }

  #own(path: string | Buffer, entry: { readonly uid: number; readonly gid: number }): void {
    const { uid, gid } = this.#ownerOf(entry);
    lchownSync(path, uid, gid);
  }

  #makeDirectory(holder: number, name: ByteString, entry: TarEntry): void {
    const stat = lstatSync(at(holder, name), { throwIfNoEntry: false });
    if (stat !== undefined && !stat.isDirectory())
      throw new TsbuildError(
        'IO_FAILED',
        `cannot overwrite non-directory ${JSON.stringify(toText(entry.path))} with directory`,
      );
    if (stat === undefined) mkdirSync(at(holder, name), 0o700);
    const fd = openBelow(holder, name);
    const { uid, gid } = this.#ownerOf(entry);
    fchownSync(fd, uid, gid);
    fchmodSync(fd, entry.mode);
    this.#stack.push({ name, fd, mtime: entry.mtime });
  }

  async #makeFile(
    holder: number,
    name: ByteString,
    entry: TarEntry,
    pieces: AsyncIterable<FilePiece>,
  ): Promise<void> {
    const fd = openSync(at(holder, name), O_NEW_FILE, 0o600);
    try {
      for await (const { offset, bytes } of pieces)
        for (let from = 0; from < bytes.byteLength; )
          from += writeSync(fd, bytes, from, bytes.byteLength - from, offset + from);
      ftruncateSync(fd, entry.size);
      const { uid, gid } = this.#ownerOf(entry);
      fchownSync(fd, uid, gid);
      fchmodSync(fd, entry.mode);
      this.#setXattrs(holder, name, entry);
      setModifiedOpen(fd, at(holder, name), entry.mtime);
    } finally {
      closeSync(fd);
    }
  }

  #makeLink(holder: number, name: ByteString, { path, linkname = '' }: TarEntry): void {
    const names = linkname.split('/').filter((part) => part !== '');
    const last = names.pop();
    if (last === undefined || names.includes('..'))
      throw new TsbuildError('ARCHIVE_INVALID', `${JSON.stringify(toText(path))} is a hard link to nothing`);
    const opened: number[] = [];
    try {
      for (const each of names) opened.push(openBelow(opened.at(-1) ?? this.#root, each));
      linkSync(at(opened.at(-1) ?? this.#root, last), at(holder, name));
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  }

  #makeOther(holder: number, name: ByteString, entry: TarEntry): void {
    const place = at(holder, name);
    if (entry.type === 'symlink') {
      symlinkSync(fsPath('', entry.linkname ?? ''), place);
      this.#own(place, entry);
    } else if (entry.type === 'fifo' || entry.type === 'char' || entry.type === 'block') {
      makeNode(place, entry.type, 0o600, entry.major ?? 0, entry.minor ?? 0);
      this.#own(place, entry);
      changeMode(place, entry.mode);
    }
    setModified(place, entry.mtime);
  }

  #setXattrs(holder: number, name: ByteString, entry: TarEntry): void {
    for (const [attribute, value] of entry.xattrs ?? []) {
      if (attribute !== 'security.capability' && !/^user\.(?!overlay\.)/.test(attribute)) continue;
      try {
        setXattr(at(holder, name), attribute, value);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno !== 'ENOTSUP' && errno !== 'EOPNOTSUPP' && errno !== 'EPERM') throw error;
      }
    }
  }
}

/** Through a descriptor of the thing itself: chmod(2) of a name would follow a symlink that took its place. */
function changeMode(place: string | Buffer, mode: number): void {
  const fd = openSync(place, O_PATH | constants.O_NOFOLLOW);
  try {
    if (!fstatSync(fd).isSymbolicLink()) chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}

function clear(holder: number, name: ByteString): void {
  const stat = lstatSync(at(holder, name), { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.isDirectory())
    throw new TsbuildError(
      'IO_FAILED',
      `cannot overwrite directory ${JSON.stringify(toText(name))} with non-directory`,
    );
  unlinkSync(at(holder, name));
}

/**
 * From a layer tar to a directory that only tsbuild writes.
 *
 * `overlay`: the directory becomes one layer of an overlay, deletions become 0:0 devices and opaque xattrs.
 * `plain`: the directory holds a copy of the parent, deletions are carried out.
 *
 * Nothing in the tar can lead outside: names are confined by the reader, symlinks that the tar itself made
 * or the parents have are resolved inside the directory, and the last component is never followed. The directory is private (0700 parent)
 * while this runs, so there is nobody to race with.
 */
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { fsPath, toText, type ByteString } from '../base/byte-string.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import { removeTree } from '../base/remove-tree.ts';
import { makeFile, makeNode, setTimeNs, setXattr } from '../../native/sys.ts';
import { setModified, setModifiedOpen } from './modified.ts';
import { requireSpace } from './free-space.ts';
import type { FilePiece } from './sparse.ts';
import { confine, type TarItem } from './tar-reader.ts';
import type { TarEntry } from './tar-header.ts';
import type { EntryStat, Tree } from './tree.ts';
import { OPAQUE_XATTR, whiteoutMeaning } from './whiteout.ts';

const MAX_LINKS = 40;

export interface UnpackOptions {
  readonly mode: 'overlay' | 'plain';
  /** What lies below; asked only for directories that the tar implies and for links into it. */
  readonly parent: () => Tree;
  readonly signal: AbortSignal;
}

/** Unpacks all of `items` into `root` (absolute, text). Throws ARCHIVE_INVALID, DISK_FULL, IO_FAILED. */
export async function unpackLayer(
  items: AsyncIterable<TarItem>,
  root: string,
  options: UnpackOptions,
): Promise<void> {
  const unpacking = new Unpacking(root, options);
  for await (const item of items) {
    options.signal.throwIfAborted();
    try {
      await unpacking.add(item);
    } catch (error) {
      throw ioError(`unpack ${JSON.stringify(toText(item.entry.path))}`, error);
    }
  }
  unpacking.finish();
}

class Unpacking {
  readonly #prefix: string;
  readonly #options: UnpackOptions;
  /** Real paths of directories by the path asked for. */
  readonly #directories = new Map<ByteString, ByteString>([['', '']]);
  /** Paths that this layer has, directories that it only passes through included: deletions spare them. */
  readonly #made = new Set<ByteString>();
  /** Paths at and below which nothing of the parents shows any more. */
  readonly #hidden = new Set<ByteString>();
  /** Paths of deletions, some of which may have been replaced. */
  readonly #deletions: ByteString[] = [];
  /** Times of directories in ns, set last since every entry below changes them. */
  readonly #times = new Map<ByteString, bigint>();

  constructor(root: string, options: UnpackOptions) {
    this.#prefix = `${root}/`;
    this.#options = options;
    this.#times.set('', lstatSync(root, { bigint: true }).mtimeNs);
  }

  #at(path: ByteString): string | Buffer {
    return fsPath(this.#prefix, path);
  }

  #lstat(path: ByteString): Stats | undefined {
    return lstatSync(this.#at(path), { throwIfNoEntry: false });
  }

  async add({ entry, bytes, stored, pieces }: TarItem): Promise<void> {
    const slash = entry.path.lastIndexOf('/');
    const directory = this.#directory(entry.path.slice(0, Math.max(0, slash)));
    const name = entry.path.slice(slash + 1);
    if (name === '') {
      if (entry.type === 'directory') this.#setDirectory('', entry);
      return;
    }
    const whiteout = whiteoutMeaning(name);
    if (whiteout !== undefined) {
      if (whiteout.kind === 'delete') this.#delete(join(directory, whiteout.name));
      else if (whiteout.kind === 'opaque') this.#makeOpaque(directory);
      return;
    }
    const path = join(directory, name);
    if (entry.type === 'directory') {
      this.#makeDirectory(path, entry);
      return;
    }
    this.#made.add(path);
    if (entry.type === 'file' && bytes !== undefined) {
      this.#makeSmallFile(path, entry, bytes);
      return;
    }
    this.#clear(path);
    if (entry.type === 'file') await this.#makeFile(path, entry, stored, pieces());
    else this.#makeOther(path, entry);
  }

  finish(): void {
    // In a directory that turned out to hide all that the parents have there is nothing to delete.
    for (const path of this.#deletions) {
      const stat = this.#isHidden(directoryOf(path)) ? this.#lstat(path) : undefined;
      if (stat !== undefined && isDeletion(stat)) unlinkSync(this.#at(path));
    }
    for (const [path, mtimeNs] of [...this.#times].reverse()) setTimeNs(this.#at(path), mtimeNs);
  }

  /** Real path of a directory, made where it is missing; symlinks are resolved inside the root. */
  #directory(path: ByteString, links = 0): ByteString {
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    if (links > MAX_LINKS)
      throw new TsbuildError('ARCHIVE_INVALID', `too many symbolic links at ${JSON.stringify(toText(path))}`);
    const slash = path.lastIndexOf('/');
    const holder = this.#directory(path.slice(0, Math.max(0, slash)), links);
    const real = join(holder, path.slice(slash + 1));
    const stat = this.#lstat(real);
    const target = stat === undefined ? this.#linkBelow(real) : this.#link(real, stat);
    if (target !== undefined)
      return this.#directory(confine(target.startsWith('/') ? target : join(holder, target)), links + 1);
    if (stat?.isDirectory() !== true) this.#imply(real, stat !== undefined);
    else if (!this.#made.has(real))
      this.#times.set(real, lstatSync(this.#at(real), { bigint: true }).mtimeNs);
    this.#made.add(real);
    this.#directories.set(path, real);
    return real;
  }

  #link(path: ByteString, stat: Stats): ByteString | undefined {
    return stat.isSymbolicLink() ? readlinkSync(this.#at(path), 'latin1') : undefined;
  }

  #linkBelow(path: ByteString): ByteString | undefined {
    return this.#below(path)?.type === 'symlink' ? this.#options.parent().readlink(path) : undefined;
  }

  #isHidden(path: ByteString): boolean {
    for (let at = path; at !== ''; at = directoryOf(at)) if (this.#hidden.has(at)) return true;
    return this.#hidden.has('');
  }

  /** What shows through from the parents at a path that this layer does not have (yet). */
  #below(path: ByteString): EntryStat | undefined {
    if (this.#isHidden(path)) return undefined;
    const parent = this.#options.parent();
    const holder = directoryOf(path);
    // why: where this layer put a directory over a parent's symlink, nothing is below what the link meant.
    return parent.resolve(holder) === holder ? parent.lstat(path) : undefined;
  }

  /** A directory that the tar does not name looks as it did in the parent. */
  #imply(path: ByteString, replaces: boolean): void {
    const below = replaces ? undefined : this.#below(path);
    const known = below?.type === 'directory' ? below : undefined;
    if (replaces) this.#clear(path);
    mkdirSync(this.#at(path), 0o755);
    lchownSync(this.#at(path), known?.uid ?? 0, known?.gid ?? 0);
    chmodSync(this.#at(path), known?.mode ?? 0o755);
    this.#times.set(path, known?.mtimeNs ?? 0n);
    if (replaces || this.#hidden.has(path)) this.#makeOpaque(path);
  }

  #makeDirectory(path: ByteString, entry: TarEntry): void {
    const stat = this.#lstat(path);
    if (stat?.isDirectory() !== true) {
      if (stat !== undefined) this.#clear(path);
      mkdirSync(this.#at(path), 0o700);
      // What was there, a whiteout or an entry of this layer, had hidden the parents' directory.
      if (stat !== undefined) this.#makeOpaque(path);
    }
    this.#made.add(path);
    this.#directories.set(path, path);
    this.#setDirectory(path, entry);
  }

  #setDirectory(path: ByteString, entry: TarEntry): void {
    lchownSync(this.#at(path), entry.uid, entry.gid);
    chmodSync(this.#at(path), entry.mode);
    this.#setXattrs(path, entry);
    this.#times.delete(path);
    this.#times.set(path, BigInt(entry.mtime) * 1_000_000_000n);
  }

  #makeSmallFile(path: ByteString, entry: TarEntry, bytes: Uint8Array): void {
    if (!makeFile(this.#at(path), entry, bytes)) {
      this.#clear(path);
      makeFile(this.#at(path), entry, bytes);
    }
    if (entry.xattrs !== undefined) this.#setXattrs(path, entry);
  }

  async #makeFile(
    path: ByteString,
    entry: TarEntry,
    stored: number,
    pieces: AsyncIterable<FilePiece>,
  ): Promise<void> {
    requireSpace(this.#prefix, stored);
    const fd = openSync(this.#at(path), 'wx', 0o600);
    try {
      for await (const { offset, bytes } of pieces) write(fd, bytes, offset);
      if (stored < entry.size) ftruncateSync(fd, entry.size);
      if (entry.uid !== 0 || entry.gid !== 0) fchownSync(fd, entry.uid, entry.gid);
      fchmodSync(fd, entry.mode);
      if (entry.xattrs !== undefined) this.#setXattrs(path, entry);
      setModifiedOpen(fd, this.#at(path), entry.mtime);
    } finally {
      closeSync(fd);
    }
  }

  #makeOther(path: ByteString, entry: TarEntry): void {
    const at = this.#at(path);
    if (entry.type === 'hardlink') {
      this.#makeLink(path, entry);
      return;
    }
    if (entry.type === 'symlink') symlinkSync(fsPath('', entry.linkname ?? ''), at);
    else if (entry.type === 'fifo' || entry.type === 'char' || entry.type === 'block') {
      // why: 0:0 would be a whiteout to overlayfs.
      if (entry.type === 'char' && entry.major === 0 && entry.minor === 0)
        throw new TsbuildError(
          'ARCHIVE_INVALID',
          `${JSON.stringify(toText(path))} is a character device 0:0`,
        );
      makeNode(at, entry.type, 0o600, entry.major ?? 0, entry.minor ?? 0);
    }
    lchownSync(at, entry.uid, entry.gid);
    if (entry.type !== 'symlink') chmodSync(at, entry.mode);
    setModified(at, entry.mtime);
  }

  #makeLink(path: ByteString, entry: TarEntry): void {
    const linkname = entry.linkname ?? '';
    const slash = linkname.lastIndexOf('/');
    const target = join(this.#directory(linkname.slice(0, Math.max(0, slash))), linkname.slice(slash + 1));
    const stat = this.#lstat(target);
    // In a copy of the parents their files are there as well.
    if (stat === undefined || stat.isDirectory() || isDeletion(stat) || !this.#made.has(target))
      throw new TsbuildError(
        'ARCHIVE_INVALID',
        `${JSON.stringify(toText(path))} is a hard link to ${JSON.stringify(toText(linkname))}, which is not in the layer`,
      );
    linkSync(this.#at(target), this.#at(path));
  }

  #setXattrs(path: ByteString, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs ?? []) {
      // why: trusted.overlay.* would change what overlayfs shows; others of the kernel's are not ours to set.
      if (name !== 'security.capability' && !/^user\.(?!overlay\.)/.test(name)) continue;
      try {
        setXattr(this.#at(path), name, value);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno !== 'ENOTSUP' && errno !== 'EOPNOTSUPP' && errno !== 'EPERM') throw error;
      }
    }
  }

  /** A deletion is of what the parents had; what the same layer has there stays, wherever it stands in the tar. */
  #delete(path: ByteString): void {
    const stat = this.#lstat(path);
    if (this.#options.mode === 'overlay') {
      if (stat?.isDirectory() === true) this.#makeOpaque(path);
      // why: in a directory that is in no other layer overlayfs shows deletions as names that lead nowhere.
      else if (stat === undefined && this.#below(path) !== undefined) {
        this.#deletions.push(path);
        makeNode(this.#at(path), 'char', 0, 0, 0);
        this.#hidden.add(path);
      }
    } else if (!this.#made.has(path)) removeTree(this.#at(path));
    else if (stat?.isDirectory() === true) this.#makeOpaque(path);
  }

  #makeOpaque(path: ByteString): void {
    this.#hidden.add(path);
    if (this.#options.mode === 'overlay')
      setXattr(this.#at(path === '' ? '.' : path), OPAQUE_XATTR, Buffer.from('y'));
    else this.#empty(path);
  }

  /** Removes what is not this layer's. */
  #empty(path: ByteString): void {
    for (const name of readdirSync(this.#at(path), 'latin1')) {
      const child = join(path, name);
      if (!this.#made.has(child)) removeTree(this.#at(child));
      else if (this.#lstat(child)?.isDirectory() === true) this.#empty(child);
    }
  }

  /** Makes way for a new entry. */
  #clear(path: ByteString): void {
    const stat = this.#lstat(path);
    if (stat === undefined) return;
    if (!stat.isDirectory()) {
      unlinkSync(this.#at(path));
      return;
    }
    removeTree(this.#at(path));
    for (const [asked, real] of this.#directories)
      if (real === path || real.startsWith(`${path}/`)) this.#directories.delete(asked);
    for (const timed of this.#times.keys())
      if (timed === path || timed.startsWith(`${path}/`)) this.#times.delete(timed);
  }
}

function isDeletion(stat: Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0;
}

function directoryOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function join(directory: ByteString, name: ByteString): ByteString {
  return directory === '' ? name : `${directory}/${name}`;
}

function write(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.byteLength; )
    at += writeSync(fd, bytes, at, bytes.byteLength - at, position + at);
}

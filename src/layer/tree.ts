/**
 * Trees: read-only access to files beneath a root that is not trusted (a snapshot, an image, a build context).
 *
 * Every path is resolved inside the root: symlinks, absolute ones too, cannot leave it (openat2
 * RESOLVE_IN_ROOT, or component by component with O_NOFOLLOW where koffi is not loaded). Calls are
 * synchronous: per-file promises cost 60 µs, these 3. Names and paths are byte strings.
 */
import type { ByteString } from '../base/byte-string.ts';

export type EntryType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

export interface EntryStat {
  readonly type: EntryType;
  /** Permission bits with setuid, setgid and sticky (0o7777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** When the inode was made; 0 where the file system does not tell. */
  readonly bornNs: bigint;
  readonly dev: number;
  readonly ino: number;
  readonly nlink: number;
  /** Of a device node. */
  readonly major: number;
  readonly minor: number;
}

/** An open directory: all calls are relative to it and never follow a symlink. */
export interface Directory extends Disposable {
  /** Descriptor of it, valid until it is closed, for native calls; undefined: it is no directory of a file system. */
  readonly descriptor: number | undefined;
  /** Names without `.` and `..`, sorted by bytes. */
  names(): readonly ByteString[];
  lstat(name: ByteString): EntryStat;
  /** As `lstat`; undefined: not there. */
  lstatIfExists(name: ByteString): EntryStat | undefined;
  readlink(name: ByteString): ByteString;
  /** File descriptor of a regular file, opened read-only with O_NOFOLLOW | O_NONBLOCK; the caller closes it. */
  open(name: ByteString): number;
  directory(name: ByteString): Directory;
  /** Value of an extended attribute; undefined where it is absent or unsupported. */
  xattr(name: ByteString, attribute: string): Uint8Array | undefined;
}

/** Paths are relative to the root; a leading `/` makes no difference, `''` is the root itself. */
export interface Tree extends Disposable {
  /** Descriptor of the root, as Directory has it. */
  readonly descriptor: number | undefined;
  /** Symlinks in the last component are followed. undefined: not there. */
  stat(path: ByteString): EntryStat | undefined;
  lstat(path: ByteString): EntryStat | undefined;
  readlink(path: ByteString): ByteString;
  /**
   * The canonical path (no symlinks, no leading `/`) of what `path` means. Components that do not exist are
   * appended as they are (`..` clean), so that it also says where a new file would be made.
   */
  resolve(path: ByteString): ByteString;
  /** Opens a directory, following symlinks inside the root. Throws IO_FAILED where it is none. */
  directory(path: ByteString): Directory;
  /** Whole content of a regular file of at most `maxSize` bytes; undefined where there is no such file. */
  readFile(path: ByteString, maxSize: number): Uint8Array | undefined;
}

/** A directory that may be changed. Names are single components; what is made must not be there yet (EEXIST). */
export interface RootDirectory extends Directory {
  makeDirectory(name: ByteString, mode: number): void;
  /** An empty regular file. */
  makeFile(name: ByteString, mode: number): void;
  /** A symbolic link to `target`. Throws where the name is taken. */
  makeSymlink(name: ByteString, target: ByteString): void;
  removeFile(name: ByteString): void;
  /** Throws ENOTEMPTY where something is in it. */
  removeDirectory(name: ByteString): void;
  directory(name: ByteString): RootDirectory;
  /** Its own modification time. */
  setTimeNs(timeNs: bigint): void;
}

/** A tree that may be changed, with the same promise: whatever lies in it, nothing outside is touched. */
export interface RootFs extends Tree {
  directory(path: ByteString): RootDirectory;
}

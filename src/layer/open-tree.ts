/**
 * Trees over real directories (contract in tree.ts).
 *
 * Everything is reached by descriptors, one component at a time, through /proc/self/fd and O_NOFOLLOW, and
 * symlinks are followed here: neither an absolute link nor a directory that is swapped for a link while we look
 * can lead outside. No koffi is needed, except for overlays of several directories and for xattrs.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { toText, type ByteString } from '../base/byte-string.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import type { Mount } from '../../native/mount.ts';
import { openImage, openOverlayView } from '../../native/overlay.ts';
import { FdDirectory } from './fd-directory.ts';
import type { Directory, EntryStat, RootFs, Tree } from './tree.ts';

/** As many as the kernel follows. */
const MAX_LINKS = 40;

/** The files of `mounts` as a container would see them. Closing the tree removes what was mounted for it. */
export function openTree(mounts: readonly Mount[]): Tree {
  const root = mounts[0];
  if (root === undefined) return emptyTree();
  if (root.kind === 'bind') return openDirectoryTree(root.source);
  const lower = root.upper === undefined ? root.lower : [root.upper, ...root.lower];
  const [only] = lower;
  if (only === undefined) return emptyTree();
  if (lower.length === 1 && typeof only === 'string') return openDirectoryTree(only);
  try {
    return treeOf(
      typeof only === 'string' || lower.length > 1 ? openOverlayView(lower, root.program) : openImage(only),
    );
  } catch (error) {
    throw ioError('look into a snapshot', error);
  }
}

/** A directory of the host as a tree; `path` itself may be a symlink. */
export function openDirectoryTree(path: string): Tree {
  return openRootFs(path);
}

/** As `openDirectoryTree`, to change things in it as well. */
export function openRootFs(path: string): RootFs {
  try {
    return treeOf(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY));
  } catch (error) {
    throw ioError(`open directory ${JSON.stringify(path)}`, error);
  }
}

/** A root without anything in it. */
export function emptyTree(): Tree {
  const missing = (): never => {
    throw new TsbuildError('IO_FAILED', 'cannot read a file of an empty root');
  };
  const root: Directory = {
    descriptor: undefined,
    names: () => [],
    lstat: missing,
    lstatIfExists: () => undefined,
    readlink: missing,
    open: missing,
    directory: missing,
    xattr: missing,
    [Symbol.dispose]: () => undefined,
  };
  const rootStat: EntryStat = { ...EMPTY_STAT, type: 'directory', mode: 0o755 };
  const isRoot = (path: ByteString): boolean => cleanComponents(path).length === 0;
  return {
    descriptor: undefined,
    stat: (path) => (isRoot(path) ? rootStat : undefined),
    lstat: (path) => (isRoot(path) ? rootStat : undefined),
    readlink: missing,
    resolve: (path) => cleanComponents(path).join('/'),
    directory: (path) => (isRoot(path) ? root : missing()),
    readFile: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}

const EMPTY_STAT = {
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  bornNs: 0n,
  dev: 0,
  ino: 0,
  nlink: 1,
  major: 0,
  minor: 0,
};

function cleanComponents(path: ByteString): string[] {
  const clean: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') clean.pop();
    else if (part !== '' && part !== '.') clean.push(part);
  }
  return clean;
}

/** Where a path leads: canonical components, and what is there (undefined: nothing). */
interface Place {
  readonly names: readonly ByteString[];
  readonly stat: EntryStat | undefined;
  /** Directory that holds the last component; to be disposed of. undefined for the root, or where it is missing. */
  readonly parent: FdDirectory | undefined;
}

function treeOf(fd: number): RootFs {
  const root = new FdDirectory(fd);

  /** Calls `use` with the place; closes every directory that was opened on the way. */
  function at<T>(path: ByteString, follow: boolean, use: (place: Place) => T): T {
    const opened: FdDirectory[] = [];
    const names: ByteString[] = [];
    let stat: EntryStat | undefined = root.stat();
    const rest = path.split('/').reverse();
    let links = 0;
    let missing = false;
    try {
      for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
        if (name === '' || name === '.') continue;
        if (name === '..') {
          if (names.pop() !== undefined && opened.length > names.length) opened.pop()?.[Symbol.dispose]();
          missing = missing && names.length > opened.length;
          if (!missing) stat = (opened.at(-1) ?? root).stat();
          continue;
        }
        if (opened.length < names.length) {
          // What came before is missing or no directory: nothing can be below it.
          names.push(name);
          [missing, stat] = [true, undefined];
          continue;
        }
        const parent = opened.at(-1) ?? root;
        const found: EntryStat | undefined = parent.lstatIfExists(name);
        const isLast = rest.every((part) => part === '' || part === '.');
        if (found?.type === 'symlink' && (follow || !isLast)) {
          links += 1;
          if (links > MAX_LINKS)
            throw new TsbuildError('IO_FAILED', `too many symbolic links in ${JSON.stringify(toText(path))}`);
          const target = parent.readlink(name);
          if (target.startsWith('/')) {
            names.length = 0;
            for (const directory of opened.splice(0)) directory[Symbol.dispose]();
            stat = root.stat();
          }
          rest.push(...target.split('/').reverse());
          continue;
        }
        names.push(name);
        stat = found;
        if (found === undefined) missing = true;
        else if (found.type === 'directory') opened.push(parent.directory(name));
      }
      const holder = stat?.type === 'directory' ? opened.at(-2) : opened.at(-1);
      return use({ names, stat, parent: names.length === 0 ? undefined : (holder ?? root) });
    } catch (error) {
      throw ioError(`look up ${JSON.stringify(toText(path))}`, error);
    } finally {
      for (const directory of opened) directory[Symbol.dispose]();
    }
  }

  return {
    descriptor: fd,
    stat: (path) => at(path, true, ({ stat }) => stat),
    lstat: (path) => at(path, false, ({ stat }) => stat),
    readlink: (path) =>
      at(path, false, ({ names, stat, parent }) => {
        const name = names.at(-1);
        if (stat?.type !== 'symlink' || parent === undefined || name === undefined)
          throw new TsbuildError('IO_FAILED', `${JSON.stringify(toText(path))} is not a symbolic link`);
        return parent.readlink(name);
      }),
    resolve: (path) => at(path, true, ({ names }) => names.join('/')),
    directory: (path) =>
      at(path, true, ({ names, stat, parent }) => {
        const name = names.at(-1);
        if (name === undefined) return root.duplicate();
        if (stat?.type !== 'directory' || parent === undefined)
          throw new TsbuildError('IO_FAILED', `${JSON.stringify(toText(path))} is not a directory`);
        return parent.directory(name);
      }),
    readFile: (path, maxSize) =>
      at(path, true, ({ names, stat, parent }) => {
        const name = names.at(-1);
        if (stat?.type !== 'file' || parent === undefined || name === undefined) return undefined;
        return readWhole(parent, name, maxSize);
      }),
    [Symbol.dispose]: () => root[Symbol.dispose](),
  };
}

function readWhole(parent: FdDirectory, name: ByteString, maxSize: number): Uint8Array | undefined {
  let fd: number;
  try {
    fd = parent.open(name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw ioError(`read ${JSON.stringify(toText(name))}`, error);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) return undefined;
    if (stat.size > maxSize)
      throw new TsbuildError(
        'IO_FAILED',
        `${JSON.stringify(toText(name))} has ${stat.size} bytes; at most ${maxSize} are read`,
      );
    const bytes = Buffer.alloc(stat.size);
    let at = 0;
    for (let n = -1; n !== 0 && at < bytes.byteLength; at += n)
      n = readSync(fd, bytes, at, bytes.byteLength - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}

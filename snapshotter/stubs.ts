/**
 * Stubs: places that must exist so that something can be mounted on them, and that no layer may contain.
 *
 * `overlay` has them in a directory below all layers. `copy` makes them in the copy and takes them away again:
 * resolved inside the root before the process runs, and taken away only where the same inode is still there
 * through real directories, so a process that plants a symlink leads us nowhere (CVE-2024-23652). Those of containers
 * stay, and are left out by who reads (noted-stubs.ts).
 */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { toByteString, type ByteString } from '../src/base/byte-string.ts';
import { digestOf, hexOf } from '../src/base/digest.ts';
import { errnoOf, ioError } from '../src/base/errors.ts';
import { openDirectoryTree, openRootFs } from '../src/layer/open-tree.ts';
import type { EntryStat, RootDirectory, RootFs, Tree } from '../src/layer/tree.ts';
import type { NotedStub } from './noted-stubs.ts';
import type { MountStub } from './snapshotter.ts';

export interface PlacedStubs {
  /** Takes away what was made and is as it was made, and sets the times of the directories around it back. */
  remove(): void;
  /** Sets the times of the directories around back, and leaves what was made. Returns that. */
  leave(): readonly NotedStub[];
}

/** The directory below `root` with nothing but `stubs`, shared by all that ask for the same ones. */
export function stubDirectory(root: string, stage: () => string, stubs: readonly MountStub[]): string {
  const identity = JSON.stringify(stubs.map(({ path, type, target, mode }) => [path, type, target, mode]));
  const path = join(root, hexOf(digestOf(identity)).slice(0, 16));
  using known = openIfExists(path);
  if (known !== undefined) return path;
  const staged = stage();
  try {
    placeStubs(staged, stubs);
    mkdirSync(root, { recursive: true, mode: 0o700 });
    renameSync(staged, path);
  } catch (error) {
    rmSync(staged, { recursive: true, force: true });
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST')
      throw ioError('prepare mount points', error);
  }
  return path;
}

function openIfExists(path: string): Tree | undefined {
  try {
    return openDirectoryTree(path);
  } catch {
    return undefined;
  }
}

interface Made {
  readonly path: ByteString;
  readonly stat: EntryStat;
}

/** Makes what is missing of `stubs` in a complete root that nobody else writes. */
export function placeStubs(root: string, stubs: readonly MountStub[]): PlacedStubs {
  using tree = openRootFs(root);
  const made = new Map<ByteString, MountStub['type']>();
  const around = new Map<ByteString, bigint>();
  for (const stub of stubs) {
    // why: a link that the image has there is as good as ours; where it leads nothing is made.
    if (stub.type === 'symlink' && tree.lstat(toByteString(stub.path)) !== undefined) continue;
    const path = tree.resolve(toByteString(stub.path));
    const names = path.split('/');
    for (let depth = 1; depth <= names.length; depth += 1) {
      const place = names.slice(0, depth).join('/');
      if (tree.lstat(place) !== undefined) continue;
      const holder = directoryOf(place);
      const stat = tree.lstat(holder);
      if (stat !== undefined && !around.has(holder) && !made.has(holder)) around.set(holder, stat.mtimeNs);
      const wanted: MountStub = depth < names.length ? { path: place, type: 'directory' } : stub;
      using directory = tree.directory(holder);
      make(directory, nameOf(place), wanted);
      made.set(place, wanted.type);
    }
  }
  const stubsMade = [...made.keys()].flatMap((path) => found(tree, path));
  const after = [...around.keys()].flatMap((path) => found(tree, path));
  return {
    leave() {
      using now = openRootFs(root);
      for (const [path, timeNs] of around) {
        using directory = now.directory(path);
        directory.setTimeNs(timeNs);
      }
      return stubsMade.map(({ path, stat: { type, ino, mode, uid, gid } }) => ({
        path,
        type,
        ino,
        mode,
        uid,
        gid,
      }));
    },
    remove: () => {
      using now = openRootFs(root);
      const untouched = after.flatMap(({ path, stat }) => {
        const current = same(now, path, stat);
        if (current === undefined) return [];
        const before = around.get(path);
        return [{ path, timeNs: current.mtimeNs === stat.mtimeNs ? (before ?? 0n) : current.mtimeNs }];
      });
      for (const { path, stat } of stubsMade.toReversed()) removeStub(now, path, stat);
      for (const { path, timeNs } of untouched) {
        using directory = now.directory(path);
        directory.setTimeNs(timeNs);
      }
    },
  };
}

function make(
  directory: RootDirectory,
  name: ByteString,
  { type, target = '', mode = 0o755 }: MountStub,
): void {
  if (type === 'directory') directory.makeDirectory(name, mode);
  else if (type === 'symlink') directory.makeSymlink(name, toByteString(target));
  else directory.makeFile(name, 0o644);
}

function found(tree: Tree, path: ByteString): readonly Made[] {
  const stat = tree.lstat(path);
  return stat === undefined ? [] : [{ path, stat }];
}

/** What is at `path` now, where it is the same inode and no symlink has come in between. */
function same(tree: Tree, path: ByteString, was: EntryStat): EntryStat | undefined {
  const holder = directoryOf(path);
  if (tree.resolve(holder) !== holder) return undefined;
  const stat = tree.lstat(path);
  return stat?.ino === was.ino && stat.type === was.type ? stat : undefined;
}

function removeStub(tree: RootFs, path: ByteString, was: EntryStat): void {
  const stat = same(tree, path, was);
  if (stat === undefined) return;
  const isChanged = stat.mode !== was.mode || stat.uid !== was.uid || stat.gid !== was.gid;
  if (isChanged || (stat.type === 'file' && (stat.size > 0 || stat.nlink > 1))) return;
  using directory = tree.directory(directoryOf(path));
  if (stat.type === 'file' || stat.type === 'symlink') directory.removeFile(nameOf(path));
  else
    try {
      directory.removeDirectory(nameOf(path));
    } catch (error) {
      // The process put something into it: then it stays.
      if (errnoOf(error) !== 'ENOTEMPTY') throw ioError('remove a mount point', error);
    }
}

function directoryOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function nameOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1);
}

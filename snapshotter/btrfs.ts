/**
 * Driver `btrfs`: every snapshot is a subvolume, made as a snapshot of its parent's, which takes no time and no blocks, and
 * changed. Asked for with --storage-driver alone: overlays need no special file system, and cost less on this one, too.
 *
 * A process may make subvolumes itself, and snapshots of what they lie in have empty directories in their place; so a tree
 * with such ones is made once more, from its layer.
 */
import { lstatSync, mkdirSync, readdirSync, statfsSync } from 'node:fs';
import { makeSubvolume, removeSubvolume } from '../native/sys.ts';
import { fsPath, type ByteString } from '../src/base/byte-string.ts';
import { errnoOf, TsbuildError } from '../src/base/errors.ts';
import type { Snapshotter } from './snapshotter.ts';
import type { DriverOptions } from './stacked.ts';
import { createWholeSnapshotter } from './whole.ts';

/** Linux include/uapi/linux/magic.h. */
const BTRFS_SUPER_MAGIC = 0x9123683e;
const FILES = 'fs';

export function isBtrfs(path: string): boolean {
  return statfsSync(path).type === BTRFS_SUPER_MAGIC;
}

/** Throws KERNEL_UNSUPPORTED where `root` lies on another file system. */
export function createBtrfsSnapshotter(options: DriverOptions): Snapshotter {
  mkdirSync(options.root, { recursive: true, mode: 0o700 });
  if (!isBtrfs(options.root))
    throw new TsbuildError('KERNEL_UNSUPPORTED', `${JSON.stringify(options.root)} is not on btrfs`, {
      hint: 'leave --storage-driver out, or put --root on a btrfs file system',
    });
  return createWholeSnapshotter(options, {
    name: 'btrfs',
    make: (directory) => makeSubvolume(directory, FILES),
    copy: (from, directory) => Promise.resolve(makeSubvolume(directory, FILES, from)),
    clear,
    isWhole: (files) => !holdsSubvolume(files),
  });
}

function clear(directory: string): void {
  try {
    removeSubvolume(directory, FILES);
  } catch (error) {
    // It went elsewhere, others lie in it, or we may not: then it is removed as directories are.
    const errno = errnoOf(error);
    if (errno !== 'ENOENT' && errno !== 'ENOTEMPTY' && errno !== 'EPERM' && errno !== 'EINVAL') throw error;
  }
}

/** Every subvolume is a device of its own for stat(2). */
function holdsSubvolume(files: string): boolean {
  const { dev } = lstatSync(files);
  const pending: ByteString[] = [''];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const at = fsPath(files, path);
    if (lstatSync(at).dev !== dev) return true;
    for (const entry of readdirSync(at, { encoding: 'latin1', withFileTypes: true }))
      if (entry.isDirectory()) pending.push(`${path}/${entry.name}`);
  }
  return false;
}

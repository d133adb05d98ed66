/** What killed processes left in the state root: told by the owners in the names, and by locks that nobody holds. */
import { closeSync, existsSync, openSync, readdirSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { tryLock } from '../../native/sys.ts';
import { writeBackNow } from '../../native/write-back.ts';
import { namesIn } from '../base/directory-names.ts';
import { errnoOf } from '../base/errors.ts';
import { isOwnerAlive, ownerOfHalf, sweepUnowned } from '../base/owner.ts';
import { leftNotes } from '../layer/unsynced.ts';
import { trashDirectory } from './gc/collect.ts';
import { leasesDirectory } from './gc/leases.ts';
import { removeTree } from '../base/remove-tree.ts';

/** Removes it; returns how many things there were. */
export function sweepLeft(root: string): number {
  return (
    unfinished(root).reduce((sum, directory) => sum + sweepUnowned(directory), 0) +
    sweepNames(join(root, 'run/caches'), ownerOfHalf) +
    sweepNames(join(root, 'git/repositories'), ownerOfHalf) +
    DOCUMENTS.reduce((sum, directory) => sum + sweepTemporaries(join(root, directory)), 0) +
    sweepLocks(join(root, 'locks/steps')) +
    sweepLocks(join(root, 'locks/caches'))
  );
}

/** Writes back what killed processes noted and did not live to write, or what those that have ended are about to write. */
export async function writeBackLeft(root: string): Promise<void> {
  const directories = [join(root, 'layers'), ...drivers(root)];
  await writeBackNow(directories.flatMap((directory) => leftNotes(join(directory, 'unsynced'))));
}

function unfinished(root: string): readonly string[] {
  return [
    join(root, 'content/partial'),
    join(root, 'layers/partial'),
    join(root, 'spool'),
    join(root, 'run/scratch'),
    join(root, 'run/agents'),
    join(root, 'git/checkouts'),
    trashDirectory(root),
    leasesDirectory(root),
    ...drivers(root).map((driver) => join(driver, 'staging')),
  ];
}

function drivers(root: string): readonly string[] {
  const snapshots = join(root, 'snapshots');
  return existsSync(snapshots) ? readdirSync(snapshots).map((name) => join(snapshots, name)) : [];
}

/** Directories of small files that are written beside and renamed. */
const DOCUMENTS = [
  ...['images', 'records', 'compressed', 'known-blobs', 'copies', 'stat-cache', 'http', 'lists', 'sizes'],
  ...['run/users', 'run/cache-uses', 'networks'],
];

/** `NAME.<owner>.tmp`, however deep. */
function sweepTemporaries(directory: string): number {
  let entries: readonly Dirent[] = [];
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch {
    // There is none.
  }
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
  return (
    sweepNames(directory, (name) => /\.(\d+\.\d+\.[0-9a-z]+)\.tmp$/.exec(name)?.[1]) +
    below.reduce((sum, each) => sum + sweepTemporaries(each), 0)
  );
}

/** Removes what has an owner, by its name, that lives no more, unless somebody has locked it (a cache that steps use still). */
function sweepNames(directory: string, ownerOf: (name: string) => string | undefined): number {
  const left = namesIn(directory).filter((name) => {
    const owner = ownerOf(name);
    return owner !== undefined && !isOwnerAlive(owner);
  });
  return left.filter((name) => removeUnheld(join(directory, name))).length;
}

/** Files of locks that nobody holds: whoever held one and ended well has removed it. */
function sweepLocks(directory: string): number {
  return namesIn(directory).filter((name) => removeUnheld(join(directory, name))).length;
}

function removeUnheld(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    if (!tryLock(fd, 'exclusive')) return false;
    // While it is locked: whoever opened it meanwhile sees that it has no name any more, and makes another.
    removeTree(path);
    return true;
  } finally {
    closeSync(fd);
  }
}

/**
 * Removing a container's cgroup: itself and what was made in it, nothing else.
 *
 * The parent `/tsbuild` goes with its last child. Whoever makes a cgroup at that moment tries again (native/launch/
 * cgroup.c). Parents that were asked for by name stay.
 */
import { rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../../base/errors.ts';
import { directoryOf, placesOf, type CgroupPlace, type PlaceInHierarchy } from './cgroup.ts';
import { cgroupError, cgroupTree } from './files.ts';
import { killAll } from './members.ts';

export const DEFAULT_PARENT = '/tsbuild';

const ROUNDS = 200;

/**
 * Idempotent. `kill` ends what still runs in it. Throws CGROUP_FAILED where something stays.
 */
export async function removeCgroup(
  place: CgroupPlace,
  options: { readonly kill?: boolean } = {},
): Promise<void> {
  if (tryRemoveCgroup(place) === undefined) return;
  if (options.kill === true) await killAll(place, 'SIGKILL');
  // why: a process that is dying still counts for some milliseconds.
  for (let round = 0; round < ROUNDS; round += 1) {
    const left = tryRemoveCgroup(place);
    if (left === undefined) return;
    if (round === ROUNDS - 1) throw cgroupError('remove the cgroup', left, 'EBUSY');
    await sleep(round < 20 ? 1 : 20);
  }
}

/** One try, at once; what could not be removed. */
export function tryRemoveCgroup(place: CgroupPlace): string | undefined {
  let left: string | undefined;
  for (const each of placesOf(place)) {
    if (each.path === '/') continue;
    const refused = removeTree(directoryOf(each));
    if (refused === undefined) removeDefaultParent(each);
    left ??= refused;
  }
  return left;
}

function removeTree(directory: string): string | undefined {
  // Mostly there is nothing in it, and one call does.
  if (tryRmdir(directory)) return undefined;
  for (const each of cgroupTree(directory).toReversed()) if (!tryRmdir(each)) return each;
  return undefined;
}

function tryRmdir(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return true;
    if (errno === 'EBUSY' || errno === 'ENOTEMPTY') return false;
    throw cgroupError('remove the cgroup', directory, errno ?? 'EIO');
  }
}

function removeDefaultParent({ mountPoint, path }: PlaceInHierarchy): void {
  if (path.startsWith(`${DEFAULT_PARENT}/`) && path.indexOf('/', 1) === path.lastIndexOf('/'))
    try {
      rmdirSync(`${mountPoint}${DEFAULT_PARENT}`);
    } catch {
      // Others are in it.
    }
}

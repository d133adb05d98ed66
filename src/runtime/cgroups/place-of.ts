/** The cgroup of a process that runs, as a place to ask about. */
import { readFileSync } from 'node:fs';
import type { CgroupPlace, PlaceInHierarchy } from './cgroup.ts';
import { parseHierarchies, type Hierarchy } from './hierarchies.ts';
import { readHierarchies } from './read-hierarchies.ts';

/**
 * Without the hierarchies in which it is where the caller is: those cgroups are not its own. undefined where the
 * process is gone.
 */
export function placeOfProcess(pid: number): CgroupPlace | undefined {
  let memberships: string;
  try {
    memberships = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return undefined;
  }
  const ours = readHierarchies();
  const controllers = ours.unified?.controllers.join(' ') ?? '';
  const theirs = parseHierarchies(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    memberships,
    () => controllers,
  );
  const isOwn = (their: Hierarchy, our: Hierarchy | undefined): boolean =>
    their.self !== '/' && their.self !== our?.self;
  const v1 = theirs.v1.filter((their) =>
    isOwn(
      their,
      ours.v1.find(({ mountPoint }) => mountPoint === their.mountPoint),
    ),
  );
  const { unified } = theirs;
  return {
    driver: 'cgroupfs',
    v1: v1.map(place),
    ...(unified === undefined || !isOwn(unified, ours.unified) ? {} : { unified: place(unified) }),
  };
}

function place({ self, ...hierarchy }: Hierarchy): PlaceInHierarchy {
  return { ...hierarchy, path: self };
}

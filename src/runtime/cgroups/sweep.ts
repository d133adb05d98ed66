/** Cgroups whose owner was killed: their names tell who that is (see base/owner.ts). */
import { readdirSync } from 'node:fs';
import { isOwnerAlive } from '../../base/owner.ts';
import type { CgroupPlace } from './cgroup.ts';
import type { Hierarchies, Hierarchy } from './hierarchies.ts';
import { DEFAULT_PARENT, tryRemoveCgroup } from './remove.ts';

/** Before `PID.STARTED.REST` in names. */
export const STEP_PREFIX = 'step-';

/**
 * Removes the empty cgroups that killed builds left; returns how many there were. What runs in one is left alone: the
 * owner may be alive where pids are others than ours.
 */
export function sweepStepCgroups({ v1, unified }: Hierarchies): number {
  const all = unified === undefined ? v1 : [...v1, unified];
  const names = new Set(all.flatMap(namesIn));
  const left = [...names].filter(
    (name) => name.startsWith(STEP_PREFIX) && !isOwnerAlive(name.slice(STEP_PREFIX.length)),
  );
  for (const name of left) {
    const at = ({ version, controllers, mountPoint }: Hierarchy) => ({
      ...{ version, controllers, mountPoint },
      path: `${DEFAULT_PARENT}/${name}`,
    });
    const place: CgroupPlace = {
      driver: 'cgroupfs',
      v1: v1.map(at),
      ...(unified === undefined ? {} : { unified: at(unified) }),
    };
    try {
      tryRemoveCgroup(place);
    } catch {
      // It is in nobody's way.
    }
  }
  return left.length;
}

function namesIn({ mountPoint }: Hierarchy): readonly string[] {
  try {
    return readdirSync(`${mountPoint}${DEFAULT_PARENT}`);
  } catch {
    return [];
  }
}

/**
 * A container's cgroup: where it lies in each hierarchy, and what makes it.
 *
 * A `CgroupDescription` is computed before anything is done: operations of the launcher's plan that make the
 * directories, write the values, and let the container be born there. Its `place` is plain JSON, for whoever keeps
 * state: what runs in it, what it used, pausing and removing are questions about a place (stats.ts, freeze.ts,
 * members.ts, remove.ts, update.ts), asked by any process at any time.
 */
import type { PlanOp } from '../../../native/plan-ops.ts';

/** A cgroup in one hierarchy. */
export interface PlaceInHierarchy {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  readonly name?: string;
  readonly mountPoint: string;
  /** Below the mount point; begins with `/`. */
  readonly path: string;
}

export interface CgroupPlace {
  readonly driver: 'cgroupfs' | 'systemd';
  readonly v1: readonly PlaceInHierarchy[];
  readonly unified?: PlaceInHierarchy;
  /** The scope of systemd's. */
  readonly unit?: string;
}

export interface CgroupDescription {
  readonly place: CgroupPlace;
  /** Done by the launcher before the clone. */
  readonly before: readonly PlanOp[];
  /** Done by the container's first process, before anything else. */
  readonly inside: readonly PlanOp[];
}

export function directoryOf({ mountPoint, path }: Pick<PlaceInHierarchy, 'mountPoint' | 'path'>): string {
  return path === '/' ? mountPoint : `${mountPoint}${path}`;
}

/** All hierarchies of a place, v2 last. */
export function placesOf({ v1, unified }: CgroupPlace): readonly PlaceInHierarchy[] {
  return unified === undefined ? v1 : [...v1, unified];
}

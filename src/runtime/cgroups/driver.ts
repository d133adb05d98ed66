/**
 * The two drivers as one: `cgroupfs` makes cgroups itself, `systemd` asks for a scope (systemd/scope.ts).
 *
 * Life of a container's cgroup: prepare, start the container with its description, dispose of what prepared it;
 * update; end.
 */
import type { CgroupDescription, CgroupPlace } from './cgroup.ts';
import { describeCgroup, type CgroupRequest } from './describe.ts';
import { removeCgroup } from './remove.ts';
import type { Resources } from './resources.ts';
import { updateResources } from './update.ts';

export type CgroupDriver = 'cgroupfs' | 'systemd';

/** To be disposed of when the container has started, or failed to. */
export interface PreparedCgroup extends Disposable {
  readonly cgroup: CgroupDescription;
}

/** `path` is `slice:prefix:name` for systemd. Throws SPEC_INVALID, KERNEL_UNSUPPORTED, SYSTEMD_FAILED. */
export async function prepareCgroup(driver: CgroupDriver, request: CgroupRequest): Promise<PreparedCgroup> {
  if (driver === 'systemd') return (await import('./systemd/scope.ts')).startScope(request);
  return { cgroup: describeCgroup(request), [Symbol.dispose]: () => undefined };
}

/** As updateResources; systemd is told, too. */
export async function updateCgroup(place: CgroupPlace, resources: Resources, subject = ''): Promise<void> {
  if (place.driver === 'systemd') await (await import('./systemd/scope.ts')).updateScope(place, resources);
  updateResources(place, resources, subject);
}

/** Ends what runs in it, and removes it; idempotent. */
export async function endCgroup(place: CgroupPlace): Promise<void> {
  if (place.driver === 'systemd') await (await import('./systemd/scope.ts')).stopScope(place);
  await removeCgroup(place, { kill: true });
}

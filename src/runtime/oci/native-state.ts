/**
 * What the native part of the command line (native/runtime) reads of a container: lines of `key value`.
 *
 *   pid, start      of its first process
 *   frozen          a file that says FROZEN (v1) or `frozen 1` (v2) while it is paused
 *   cgroup          a directory; once for each hierarchy
 *   kill            cgroup.kill of v2
 *   poststart, poststop   there are such hooks, or mounts to undo: the native part hands over
 *   everyone        what SIGKILL is for, since nobody dies with the first process: the native part hands over
 *   head, tail      the state document before and after the pid and the status
 */
import { directoryOf, placesOf } from '../cgroups/cgroup.ts';
import { holderOf } from '../cgroups/hierarchies.ts';
import type { ContainerRecord } from './record.ts';

export function nativeState(record: ContainerRecord): string {
  const { cgroup } = record;
  const freezer = cgroup === undefined ? undefined : holderOf(cgroup, 'freezer');
  const { ociVersion, id, bundle, rootfs, created, owner, annotations } = record;
  const head = JSON.stringify({ ociVersion, id }).slice(0, -1);
  const tail = JSON.stringify({ bundle, rootfs, created, annotations, owner }).slice(1);
  return [
    `pid ${record.pid}`,
    `start ${record.pidStart}`,
    ...(freezer === undefined
      ? []
      : [`frozen ${directoryOf(freezer)}/${freezer.version === 1 ? 'freezer.state' : 'cgroup.events'}`]),
    ...(cgroup === undefined ? [] : placesOf(cgroup).map((place) => `cgroup ${directoryOf(place)}`)),
    ...(cgroup?.unified === undefined ? [] : [`kill ${directoryOf(cgroup.unified)}/cgroup.kill`]),
    ...(record.sharesPids === true ? ['everyone'] : []),
    ...record.later,
    ...(record.sharesMounts === true && !record.later.includes('poststop') ? ['poststop'] : []),
    `head ${head}`,
    `tail ${tail}`,
    '',
  ].join('\n');
}

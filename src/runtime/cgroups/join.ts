/** A further process in a container's cgroup: exec. */
import { directoryOf, type CgroupDescription, type CgroupPlace } from './cgroup.ts';

/**
 * `place`: where the container's first process is now (place-of.ts), which is not where it was started when there is
 * an init in it that makes cgroups of its own: on v2, the one it began in may then hold no process any more.
 */
export function joinCgroup(place: CgroupPlace, subject = 'cgroup'): CgroupDescription {
  const { v1, unified } = place;
  return {
    place,
    before: [
      ...v1.map((each) => ({ op: 'cgroupTasks', subject, path: `${directoryOf(each)}/tasks` }) as const),
      ...(unified === undefined ? [] : [{ op: 'cgroupBorn', subject, path: directoryOf(unified) } as const]),
    ],
    inside: v1.length === 0 ? [] : [{ op: 'cgroupSelf', subject }],
  };
}

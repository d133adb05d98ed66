/** How a container sees its own cgroup on v1 and hybrid: what asks for its limits reads them there. */
import { posix } from 'node:path';
import type { Attachment, ContainerMount } from '../runtime.ts';
import { directoryOf, placesOf, type CgroupPlace } from './cgroup.ts';

export interface CgroupMountOptions {
  readonly target: string;
  /** Of every mount, the tmpfs around them included. */
  readonly flags: Pick<Attachment, 'remount' | 'set' | 'clear' | 'setBelow' | 'clearBelow' | 'propagation'>;
  /** In a cgroup namespace the container's own cgroup is the root of what can be mounted. */
  readonly hasNamespace: boolean;
}

const READONLY = 1;

/** A tmpfs with one mount per hierarchy, as systemd lays them out on the host; v2 beside them. */
export function cgroupMounts(
  place: CgroupPlace,
  { target, flags, hasNamespace }: CgroupMountOptions,
): readonly ContainerMount[] {
  const base = { ...flags, kind: 'attach', copyUp: false, recursive: false, propagation: 0 } as const;
  const isReadonly = (flags.set & READONLY) !== 0;
  const mounts: ContainerMount[] = [
    {
      ...{ ...base, set: flags.set & ~READONLY },
      ...{ type: 'tmpfs', source: 'tmpfs', target, bind: false },
      options: [['mode', '0755']],
    },
  ];
  for (const each of placesOf(place)) {
    const name = posix.basename(each.mountPoint);
    const at = `${target}/${name}`;
    const controllers = each.name === undefined ? each.controllers : [];
    mounts.push(
      hasNamespace
        ? {
            ...base,
            ...{ type: each.version === 1 ? 'cgroup' : 'cgroup2', source: 'cgroup', target: at, bind: false },
            options: hierarchyOptions(each.version, controllers, each.name),
          }
        : { ...base, ...{ type: 'bind', source: directoryOf(each), target: at, bind: true }, options: [] },
    );
    if (name.includes(','))
      for (const controller of controllers)
        mounts.push({ kind: 'symlink', target: `${target}/${controller}`, to: name });
  }
  if (isReadonly)
    mounts.push({
      ...base,
      ...{ type: 'none', source: '', target, bind: false, remount: true, options: [] },
    });
  return mounts;
}

function hierarchyOptions(
  version: 1 | 2,
  controllers: readonly string[],
  name: string | undefined,
): readonly (readonly [string, string])[] {
  if (version === 2) return [];
  if (name !== undefined)
    return [
      ['none', ''],
      ['name', name],
    ];
  return controllers.map((controller) => [controller, ''] as const);
}

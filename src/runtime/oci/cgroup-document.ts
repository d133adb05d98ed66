/** Where a config's container lives among cgroups, and its limits there. Spec: OCI runtime-spec v1.2, config-linux.md. */
import type { CgroupDescription } from '../cgroups/cgroup.ts';
import { describeCgroup } from '../cgroups/describe.ts';
import { configDevices } from '../cgroups/device-rules.ts';
import type { Hierarchies } from '../cgroups/hierarchies.ts';
import { hasProcesses } from '../cgroups/members.ts';
import { DEFAULT_PARENT } from '../cgroups/remove.ts';
import type { Fields } from './fields.ts';
import { parseResources } from './resources-document.ts';

export interface CgroupChoice {
  readonly manager: 'cgroupfs' | 'systemd' | 'disabled';
  readonly hierarchies: () => Hierarchies;
}

/** Undefined where no cgroups are wanted. Throws SPEC_INVALID, KERNEL_UNSUPPORTED. */
export function describeContainerCgroup(
  config: Fields,
  id: string,
  { manager, hierarchies }: CgroupChoice,
  warn: (message: string) => void,
): CgroupDescription | undefined {
  if (manager === 'disabled') return undefined;
  const linux = config.fields('linux');
  const path = linux.text('cgroupsPath') ?? '';
  const resources = parseResources(linux.fields('resources'));
  const description = describeCgroup({
    hierarchies: hierarchies(),
    path: path === '' ? `${DEFAULT_PARENT}/${id}` : path,
    // why: without rules of its own a config leaves devices alone.
    resources: {
      ...resources,
      devices: (resources.devices ?? []).length === 0 ? [] : configDevices(resources.devices ?? []),
    },
    membership: 'all',
    subject: 'linux.resources.',
    shared: true,
  });
  if (hasProcesses(description.place)) warn("container's cgroup is not empty");
  return description;
}

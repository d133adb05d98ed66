/** Where a config's container lives among cgroups, and its limits there. Spec: OCI runtime-spec v1.2, config-linux.md. */
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { configDevices } from '../cgroups/device-rules.ts';
import { prepareCgroup, type PreparedCgroup } from '../cgroups/driver.ts';
import { isFrozen } from '../cgroups/freeze.ts';
import type { Hierarchies } from '../cgroups/hierarchies.ts';
import { processesOf } from '../cgroups/members.ts';
import { DEFAULT_PARENT } from '../cgroups/remove.ts';
import type { Resources } from '../cgroups/resources.ts';
import type { Fields } from './fields.ts';
import { parseResources } from './resources-document.ts';

export interface CgroupChoice {
  readonly manager: 'cgroupfs' | 'systemd' | 'disabled';
  readonly hierarchies: () => Hierarchies;
}

async function prepare(...request: Parameters<typeof prepareCgroup>): Promise<PreparedCgroup> {
  try {
    return await prepareCgroup(...request);
  } catch (error) {
    if (!isTsbuildError(error)) throw error;
    const { code, message, hint } = error;
    throw new TsbuildError(code, `invalid configuration: ${message}`, hint === undefined ? {} : { hint });
  }
}

/** Undefined where no cgroups are wanted. Throws SPEC_INVALID, KERNEL_UNSUPPORTED, SYSTEMD_FAILED. */
export async function prepareContainerCgroup(
  config: Fields,
  id: string,
  { manager, hierarchies }: CgroupChoice,
): Promise<PreparedCgroup | undefined> {
  if (manager === 'disabled') return undefined;
  const linux = config.fields('linux');
  const path = linux.text('cgroupsPath') ?? '';
  const fallback = manager === 'systemd' ? `:tsbuild:${id}` : `${DEFAULT_PARENT}/${id}`;
  const prepared = await prepare(manager, {
    hierarchies: hierarchies(),
    path: path === '' ? fallback : path,
    resources: withUsualDevices(parseResources(linux.fields('resources'))),
    membership: 'all',
    subject: 'linux.resources.',
    shared: true,
    isRealtime: isRealtime(config.fields('process').fields('scheduler').text('policy')),
  });
  if (manager !== 'cgroupfs') return prepared;
  // why: whoever enters a frozen cgroup stops there, and nobody would ever hear of it.
  if (isFrozen(prepared.cgroup.place)) {
    prepared[Symbol.dispose]();
    throw new TsbuildError('CGROUP_FAILED', "container's cgroup unexpectedly frozen", {
      hint: 'thaw it, or give the container another cgroupsPath',
    });
  }
  // why: whoever is in it already would be limited, frozen and killed with the container.
  const others = processesOf(prepared.cgroup.place).length;
  if (others > 0) {
    prepared[Symbol.dispose]();
    throw new TsbuildError('CGROUP_FAILED', `container's cgroup is not empty: ${others} process(es) found`, {
      hint: 'give the container another cgroupsPath',
    });
  }
  return prepared;
}

function isRealtime(policy: string | undefined): boolean {
  return policy === 'SCHED_FIFO' || policy === 'SCHED_RR';
}

/** why: without rules of its own a config leaves devices alone. */
export function withUsualDevices(resources: Resources): Resources {
  const { devices = [], ...others } = resources;
  return devices.length === 0 ? others : { ...others, devices: configDevices(devices) };
}

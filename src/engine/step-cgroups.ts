/**
 * Cgroups of build steps: limits, devices, and what is told of a step that the kernel killed.
 *
 * Where cgroups cannot be made (inside of a container that has them read-only), steps run without, unless limits were
 * asked for.
 */
import type { Host } from '../base/host.ts';
import type { CgroupDescription } from '../runtime/cgroups/cgroup.ts';
import { endCgroup, prepareCgroup, type CgroupDriver } from '../runtime/cgroups/driver.ts';
import { containerDevices } from '../runtime/cgroups/device-rules.ts';
import type { Hierarchies } from '../runtime/cgroups/hierarchies.ts';
import { memoryReport } from '../runtime/cgroups/oom.ts';
import { readWritableHierarchies } from '../runtime/cgroups/read-hierarchies.ts';
import { DEFAULT_PARENT } from '../runtime/cgroups/remove.ts';
import type { Resources } from '../runtime/cgroups/resources.ts';
import { STEP_PREFIX, sweepStepCgroups } from '../runtime/cgroups/sweep.ts';
import type { ContainerSpec, MemoryReport } from '../runtime/runtime.ts';

export interface StepCgroupOptions {
  readonly host: Host;
  /** Limits of each step. */
  readonly limits: Resources;
  readonly driver: CgroupDriver;
  /** Instead of the default parent; as OCI's cgroupsPath. Of systemd: a slice. */
  readonly parent?: string;
}

export interface StepCgroups {
  /** Throws KERNEL_UNSUPPORTED, SPEC_INVALID, SYSTEMD_FAILED. To be ended in any case. */
  prepare(step: { readonly privileged: boolean }): Promise<CgroupDescription>;
  /** Never throws: what stays is swept by the next build. */
  end(spec: ContainerSpec): Promise<MemoryReport | undefined>;
}

export function createStepCgroups({ host, limits, driver, parent }: StepCgroupOptions): StepCgroups {
  let known: Hierarchies | undefined;
  const scopes = new Map<CgroupDescription, Disposable>();

  function hierarchies(): Hierarchies {
    if (known !== undefined) return known;
    known = readWritableHierarchies();
    sweepStepCgroups(known);
    return known;
  }

  return {
    async prepare({ privileged }) {
      const name = `${STEP_PREFIX}${host.unique()}`;
      const resources = { ...limits, devices: containerDevices([], { privileged }) };
      const prepared = await prepareCgroup(driver, {
        hierarchies: hierarchies(),
        path:
          driver === 'systemd' ? `${parent ?? ''}:tsbuild:${name}` : `${parent ?? DEFAULT_PARENT}/${name}`,
        resources: driver === 'systemd' ? withPlaceholder(resources) : resources,
        membership: 'needed',
      });
      scopes.set(prepared.cgroup, prepared);
      return prepared.cgroup;
    },
    async end({ cgroup }) {
      if (cgroup === undefined) return undefined;
      // why: as long as the scope has its placeholder, its cgroup can be asked.
      const report = memoryReport(cgroup.place);
      scopes.get(cgroup)?.[Symbol.dispose]();
      scopes.delete(cgroup);
      await endCgroup(cgroup.place).catch(() => undefined);
      return report;
    },
  };
}

/** The process that keeps a scope until its step has ended counts among those of the step. */
function withPlaceholder(resources: Resources): Resources {
  const limit = resources.pids?.limit ?? 0;
  return limit <= 0 ? resources : { ...resources, pids: { limit: limit + 1 } };
}

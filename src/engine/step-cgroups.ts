/**
 * Cgroups of build steps: limits, devices, and what is told of a step that the kernel killed.
 *
 * Where cgroups cannot be made (inside of a container that has them read-only), steps run without, unless limits were
 * asked for.
 */
import type { Host } from '../base/host.ts';
import type { CgroupDescription } from '../runtime/cgroups/cgroup.ts';
import { describeCgroup } from '../runtime/cgroups/describe.ts';
import { containerDevices } from '../runtime/cgroups/device-rules.ts';
import type { Hierarchies } from '../runtime/cgroups/hierarchies.ts';
import { memoryReport } from '../runtime/cgroups/oom.ts';
import { readWritableHierarchies } from '../runtime/cgroups/read-hierarchies.ts';
import { DEFAULT_PARENT, removeCgroup } from '../runtime/cgroups/remove.ts';
import type { Resources } from '../runtime/cgroups/resources.ts';
import { STEP_PREFIX, sweepStepCgroups } from '../runtime/cgroups/sweep.ts';
import type { ContainerSpec, MemoryReport } from '../runtime/runtime.ts';

export interface StepCgroupOptions {
  readonly host: Host;
  /** Limits of each step. */
  readonly limits: Resources;
  /** Instead of the default parent; as OCI's cgroupsPath. */
  readonly parent?: string;
}

export interface StepCgroups {
  /** Throws KERNEL_UNSUPPORTED, SPEC_INVALID. */
  describe(step: { readonly privileged: boolean }): CgroupDescription;
  /** Never throws: what stays is swept by the next build. */
  end(spec: ContainerSpec): Promise<MemoryReport | undefined>;
}

export function createStepCgroups({ host, limits, parent = DEFAULT_PARENT }: StepCgroupOptions): StepCgroups {
  let known: Hierarchies | undefined;

  function hierarchies(): Hierarchies {
    if (known !== undefined) return known;
    known = readWritableHierarchies();
    sweepStepCgroups(known);
    return known;
  }

  return {
    describe({ privileged }) {
      return describeCgroup({
        hierarchies: hierarchies(),
        path: `${parent}/${STEP_PREFIX}${host.unique()}`,
        resources: { ...limits, devices: containerDevices([], { privileged }) },
        membership: 'needed',
      });
    },
    async end({ cgroup }) {
      if (cgroup === undefined) return undefined;
      const report = memoryReport(cgroup.place);
      await removeCgroup(cgroup.place, { kill: true }).catch(() => undefined);
      return report;
    },
  };
}

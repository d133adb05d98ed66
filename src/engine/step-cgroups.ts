/**
 * Cgroups of build steps: limits, devices, and what is told of a step that the kernel killed.
 *
 * Where cgroups cannot be made (inside of a container that has them read-only), steps run without, unless limits were
 * asked for. Where there are none, a step takes the cgroup of one that has ended: making it and removing it is a tenth of
 * a step.
 */
import { existsSync } from 'node:fs';
import type { Host } from '../base/host.ts';
import { directoryOf, placesOf, type CgroupDescription } from '../runtime/cgroups/cgroup.ts';
import { endCgroup, prepareCgroup, type CgroupDriver } from '../runtime/cgroups/driver.ts';
import { containerDevices } from '../runtime/cgroups/device-rules.ts';
import type { Hierarchies } from '../runtime/cgroups/hierarchies.ts';
import { joinCgroup } from '../runtime/cgroups/join.ts';
import { hasProcesses } from '../runtime/cgroups/members.ts';
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
  /** `hasRun`: it was started, with all that was asked for. Never throws: what stays is swept by the next build. */
  end(spec: ContainerSpec, hasRun: boolean): Promise<MemoryReport | undefined>;
  /** Removes what was kept for further steps. Never throws. */
  close(): Promise<void>;
}

export function createStepCgroups({ host, limits, driver, parent }: StepCgroupOptions): StepCgroups {
  let known: Hierarchies | undefined;
  const scopes = new Map<CgroupDescription, Disposable>();
  /** Those without privileges, and without anything of the step that was in them. */
  const spares: CgroupDescription[] = [];
  const keeps = driver === 'cgroupfs' && Object.keys(limits).length === 0;
  const keepable = new Set<CgroupDescription>();
  /** Whose peak may be that of a step before, or of what it left in the page cache. */
  const usedAgain = new WeakSet<CgroupDescription>();

  function hierarchies(): Hierarchies {
    if (known !== undefined) return known;
    known = readWritableHierarchies();
    sweepStepCgroups(known);
    return known;
  }

  function takeSpare(): CgroupDescription | undefined {
    for (let spare = spares.pop(); spare !== undefined; spare = spares.pop())
      if (placesOf(spare.place).every((each) => existsSync(directoryOf(each)))) return spare;
    return undefined;
  }

  /** Whether it was kept. */
  function keep(cgroup: CgroupDescription, report: MemoryReport | undefined): boolean {
    if ((report?.kills ?? 0) > 0 || hasProcesses(cgroup.place)) return false;
    const spare = joinCgroup(cgroup.place);
    usedAgain.add(spare);
    spares.push(spare);
    return true;
  }

  async function remove(cgroup: CgroupDescription): Promise<void> {
    await endCgroup(cgroup.place).catch(() => undefined);
  }

  return {
    async prepare({ privileged }) {
      const spare = privileged ? undefined : takeSpare();
      if (spare !== undefined) {
        keepable.add(spare);
        return spare;
      }
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
      if (keeps && !privileged) keepable.add(prepared.cgroup);
      return prepared.cgroup;
    },
    async end({ cgroup }, hasRun) {
      if (cgroup === undefined) return undefined;
      // why: as long as the scope has its placeholder, its cgroup can be asked.
      const told = memoryReport(cgroup.place);
      const report = told && usedAgain.has(cgroup) ? { ...told, peak: undefined } : told;
      scopes.get(cgroup)?.[Symbol.dispose]();
      scopes.delete(cgroup);
      const isKept = keepable.delete(cgroup) && hasRun && keep(cgroup, report);
      if (!isKept) await remove(cgroup);
      return report;
    },
    async close() {
      for (const spare of spares.splice(0)) await remove(spare);
    },
  };
}

/** The process that keeps a scope until its step has ended counts among those of the step. */
function withPlaceholder(resources: Resources): Resources {
  const limit = resources.pids?.limit ?? 0;
  return limit <= 0 ? resources : { ...resources, pids: { limit: limit + 1 } };
}

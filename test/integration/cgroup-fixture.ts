/** Containers with limits of their own: the busybox sandbox, and a cgroup for each that is removed at its end. */
import { existsSync, readFileSync } from 'node:fs';
import { directoryOf, placesOf, type CgroupPlace } from '../../src/runtime/cgroups/cgroup.ts';
import { describeCgroup } from '../../src/runtime/cgroups/describe.ts';
import { holderOf, type Hierarchies } from '../../src/runtime/cgroups/hierarchies.ts';
import { memoryReport } from '../../src/runtime/cgroups/oom.ts';
import { readHierarchies } from '../../src/runtime/cgroups/read-hierarchies.ts';
import { removeCgroup } from '../../src/runtime/cgroups/remove.ts';
import type { Resources } from '../../src/runtime/cgroups/resources.ts';
import { statsOf, type CgroupStats } from '../../src/runtime/cgroups/stats.ts';
import type { Container, ExitStatus, MemoryReport } from '../../src/runtime/runtime.ts';
import { collect, openSandbox, type Outcome, type Sandbox } from './runtime-fixture.ts';

export interface LimitedOutcome extends Outcome {
  readonly stats: CgroupStats;
  readonly memory: MemoryReport | undefined;
}

export interface LimitedContainer {
  readonly container: Container;
  readonly place: CgroupPlace;
  readonly exited: Promise<ExitStatus>;
  readonly output: () => string;
}

export interface CgroupSandbox {
  readonly box: Sandbox;
  readonly hierarchies: Hierarchies;
  /** `path` of a fresh cgroup. */
  path(): string;
  /** Runs a script to its end. */
  sh(resources: Resources, script: string): Promise<LimitedOutcome>;
  /** Lets one run while `use` looks at it. */
  during<T>(resources: Resources, script: string, use: (running: LimitedContainer) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export function openCgroupSandbox(): CgroupSandbox {
  const box = openSandbox();
  const hierarchies = readHierarchies();
  let count = 0;
  const path = (): string => `/tsbuild/test-${process.pid}-${(count += 1)}`;
  const describe = (resources: Resources) =>
    describeCgroup({ hierarchies, path: path(), resources, membership: 'all' });
  return {
    box,
    hierarchies,
    path,
    async sh(resources, script) {
      const cgroup = describe(resources);
      try {
        const outcome = await collect(box.runtime, { ...box.spec(['sh', '-c', script]), cgroup });
        return { ...outcome, stats: statsOf(cgroup.place), memory: memoryReport(cgroup.place) };
      } finally {
        await removeCgroup(cgroup.place, { kill: true });
      }
    },
    async during(resources, script, use) {
      const cgroup = describe(resources);
      let text = '';
      try {
        await using container = await box.runtime.start(
          { ...box.spec(['sh', '-c', script]), cgroup },
          { kind: 'capture', onOutput: (_stream, data) => (text += Buffer.from(data).toString()) },
          { signal: new AbortController().signal },
        );
        const { place } = cgroup;
        return await use({ container, place, exited: container.exited, output: () => text });
      } finally {
        await removeCgroup(cgroup.place, { kill: true });
      }
    },
    close: () => box.close(),
  };
}

/** A file of a place, by the controller that it belongs to. */
export function fileOf(place: CgroupPlace, controller: string, file: string): string {
  const holder = holderOf(place, controller);
  return holder === undefined ? '' : readFileSync(`${directoryOf(holder)}/${file}`, 'latin1').trim();
}

/** Directories of a place that are there. */
export function directoriesLeft(place: CgroupPlace): readonly string[] {
  return placesOf(place).map(directoryOf).filter(existsSync);
}

/** Waits until something holds; fails with `what` after half a minute. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let round = 0; round < 3000; round += 1) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never: ${what}`);
}

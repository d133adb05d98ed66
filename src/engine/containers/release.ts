/** What is left to do after a container's end. Everything here is idempotent and may be done by several at a time. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { allSettled } from '../../base/all-settled.ts';
import type { CgroupPlace } from '../../runtime/cgroups/cgroup.ts';
import { endCgroup } from '../../runtime/cgroups/driver.ts';
import { memoryReport } from '../../runtime/cgroups/oom.ts';
import { readHeld } from '../../runtime/container-files.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';

/** Takes networks and cgroups back. Nothing of the container may run. */
export async function releaseContainer(engine: Engine, { id, directory }: StoredContainer): Promise<void> {
  const held = readHeld(directory);
  if (held === undefined) return;
  const networks = held.networks ? await engine.networks() : undefined;
  await allSettled([networks?.detach(id) ?? Promise.resolve(), releaseCgroup(directory, held.cgroup)]);
  rmSync(join(directory, 'held.json'), { force: true });
}

async function releaseCgroup(directory: string, place: CgroupPlace | undefined): Promise<void> {
  if (place === undefined) return;
  keepMemoryReport(directory, place);
  await endCgroup(place);
}

/** For `inspect`: the cgroup, which knows, goes. */
function keepMemoryReport(directory: string, place: CgroupPlace): void {
  const report = memoryReport(place);
  if (report === undefined || report.kills === 0) return;
  try {
    // why not writeFileAtomic: it would make the directory again that somebody removes at this moment.
    writeFileSync(join(directory, 'memory.json'), JSON.stringify(report), { mode: 0o600 });
  } catch {
    // Nobody will ask, or the disk is full: what is lost is a word of explanation.
  }
}

/** The container and, with `volumes`, those that came into being with it. */
export async function discardContainer(
  engine: Engine,
  container: StoredContainer,
  { volumes }: { readonly volumes: boolean },
): Promise<void> {
  const { id, config } = container;
  await releaseContainer(engine, container);
  engine.containers.remove(id);
  for (const mount of config.isolation.mounts)
    if (mount.kind === 'volume' && mount.name !== undefined) engine.volumes.release(mount.name, id);
  if (volumes)
    for (const name of config.anonymousVolumes)
      if (engine.volumes.find(name) !== undefined && engine.volumes.holders(name).length === 0)
        engine.volumes.remove(name);
}

/** After the final end: --rm removes it, others give back what they held. */
export async function cleanUpContainer(engine: Engine, container: StoredContainer): Promise<void> {
  if (container.config.autoRemove) await discardContainer(engine, container, { volumes: true });
  else await releaseContainer(engine, container);
}

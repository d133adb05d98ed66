/** What is left to do after a container's end. Everything here is idempotent and may be done by several at a time. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { endCgroup } from '../../runtime/cgroups/driver.ts';
import { readHeld } from '../../runtime/container-files.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';

/** Takes networks and cgroups back. Nothing of the container may run. */
export async function releaseContainer(engine: Engine, { id, directory }: StoredContainer): Promise<void> {
  const held = readHeld(directory);
  if (held === undefined) return;
  if (held.networks) await (await engine.networks()).detach(id);
  if (held.cgroup !== undefined) await endCgroup(held.cgroup);
  rmSync(join(directory, 'held.json'), { force: true });
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

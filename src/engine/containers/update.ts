/** `update`: other limits and another restart policy, for what runs and for what is started later. */
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import type { CgroupPlace } from '../../runtime/cgroups/cgroup.ts';
import { updateCgroup } from '../../runtime/cgroups/driver.ts';
import { readHeld } from '../../runtime/container-files.ts';
import {
  isActive,
  type ContainerConfig,
  type RestartPolicy,
  type StoredContainer,
} from '../../runtime/container.ts';
import type { LimitOptions } from '../../runtime/container-options.ts';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import type { Engine } from '../engine.ts';
import { checkAnswer, reach } from './hold.ts';
import { limitResources } from './resources.ts';
import { policyOf } from './start.ts';

/** Limits that are not named stay. Throws CGROUP_FAILED, USAGE (with --rm); what was refused is not stored. */
export async function updateContainer(
  engine: Engine,
  container: StoredContainer,
  limits: LimitOptions,
  restart: RestartPolicy | undefined,
): Promise<void> {
  const { config, state } = container;
  if (restart !== undefined && restart.name !== 'no' && config.autoRemove)
    throw new TsbuildError(
      'USAGE',
      'restart policy cannot be updated because AutoRemove is enabled for the container',
    );
  const merged: ContainerConfig = {
    ...config,
    isolation: { ...config.isolation, limits: { ...config.isolation.limits, ...limits } },
    ...(restart === undefined ? {} : { restart }),
  };
  const place = state.process === undefined ? undefined : placeOf(container, state.process.pid);
  if (place !== undefined && Object.keys(limits).length > 0)
    await updateCgroup(place, limitResources(limits));
  if (restart !== undefined && isActive(state)) await tellPolicy(container, restart);
  engine.containers.save(merged);
}

/** Where it is now; systemd is asked about the scope that it was given. */
function placeOf({ directory }: StoredContainer, pid: number): CgroupPlace | undefined {
  const held = readHeld(directory)?.cgroup;
  return held?.driver === 'systemd' ? held : placeOfProcess(pid);
}

/** A monitor knows the policy from its start; one that ends meanwhile has no use for it. */
async function tellPolicy(container: StoredContainer, restart: RestartPolicy): Promise<void> {
  const held = await reach(container);
  try {
    if (held !== undefined)
      checkAnswer(await held.connection.setPolicy(policyOf(restart)), 'update', container);
  } catch (error) {
    if (!isTsbuildError(error, 'CONTAINER_LOST')) throw error;
  } finally {
    held?.connection.close();
  }
}

/** `update`: other limits and another restart policy, for what runs and for what is started later. */
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import { updateResources } from '../../runtime/cgroups/update.ts';
import type { ContainerConfig, RestartPolicy, StoredContainer } from '../../runtime/container.ts';
import type { LimitOptions } from '../../runtime/container-options.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { Engine } from '../engine.ts';
import { limitResources } from './resources.ts';

/** Limits that are not named stay. Throws CGROUP_FAILED, USAGE (with --rm); what was refused is not stored. */
export function updateContainer(
  engine: Engine,
  { config, state }: StoredContainer,
  limits: LimitOptions,
  restart: RestartPolicy | undefined,
): void {
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
  const place = state.process === undefined ? undefined : placeOfProcess(state.process.pid);
  if (place !== undefined && Object.keys(limits).length > 0) updateResources(place, limitResources(limits));
  engine.containers.save(merged);
}

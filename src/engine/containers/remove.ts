/** `rm` and `container prune`. */
import { TsbuildError } from '../../base/errors.ts';
import { isActive, isHeld, shortID, type StoredContainer } from '../../runtime/container.ts';
import { sizeIfThere } from '../../base/usage.ts';
import type { Engine } from '../engine.ts';
import { isOwnerAlive } from '../../base/owner.ts';
import { current, untilReleased } from './hold.ts';
import { isAbandoned } from './repair.ts';
import { discardContainer } from './release.ts';
import { endWith } from './stop.ts';

export interface RemoveOptions {
  /** Kills it where it runs; no complaint about one that is not there. */
  readonly force: boolean;
  /** Anonymous volumes go, too. */
  readonly volumes: boolean;
}

/** Throws CONTAINER_RUNNING, CONTAINER_NOT_FOUND. */
export async function removeContainer(
  engine: Engine,
  reference: string,
  { force, volumes }: RemoveOptions,
): Promise<void> {
  const container = await current(engine, reference);
  if (isActive(container.state)) {
    if (!force) throw stillRunning(container);
    await endWith(engine, container, (held) => held.connection.stop(9, 0));
  }
  const left = await untilReleased(engine, container.id);
  if (left === undefined) return;
  if (isHeld(left.state)) throw stillRunning(left);
  await discardContainer(engine, left, { volumes });
}

function stillRunning({ id, config, state }: StoredContainer): TsbuildError {
  return new TsbuildError(
    'CONTAINER_RUNNING',
    `cannot remove container ${JSON.stringify(config.name)} (${shortID(id)}): it is ${state.status}`,
    { hint: 'stop it first, or use --force' },
  );
}

/** Removes containers that do not run, that nobody is about to start, and that `selects` accepts. */
export async function pruneContainers(
  engine: Engine,
  selects: (container: StoredContainer) => boolean,
): Promise<{ readonly removed: readonly string[]; readonly freed: number }> {
  const removed: string[] = [];
  let freed = 0;
  for (const { id } of engine.containers.list()) {
    // As it is now: it takes time to remove those before it, and others start and remove containers.
    const container = engine.containers.get(id);
    if (container === undefined || isInUse(container) || !selects(container)) continue;
    freed += sizeIfThere(container.directory);
    await discardContainer(engine, container, { volumes: false });
    removed.push(container.id);
  }
  return { removed, freed };
}

function isInUse(container: StoredContainer): boolean {
  const { state, config } = container;
  const isBeingMade =
    state.status === 'created' && config.creator !== undefined && isOwnerAlive(config.creator);
  return isActive(state) || isBeingMade || !isAbandoned(container);
}

/** `stop`, `kill`, `wait`, `pause`, `unpause`, `rename`: what is done to containers that exist. */
import type { MonitorEnd } from '../../../native/monitor.ts';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { freeze, thaw } from '../../runtime/cgroups/freeze.ts';
import type { CgroupPlace } from '../../runtime/cgroups/cgroup.ts';
import { readHeld } from '../../runtime/container-files.ts';
import { isActive, type StoredContainer } from '../../runtime/container.ts';
import { signalNumber, type Signal } from '../../runtime/signals.ts';
import type { Engine } from '../engine.ts';
import { checkAnswer, current, reach, requireActive, untilReleased, type Held } from './hold.ts';
import { cleanUpContainer } from './release.ts';

export interface StopOptions {
  /** undefined: the container's own. -1: for ever. */
  readonly timeoutS?: number;
  readonly signal?: Signal;
}

/** Resolves when it has ended and is cleaned up; at once where it does not run. */
export async function stopContainer(
  engine: Engine,
  reference: string,
  { timeoutS, signal }: StopOptions,
): Promise<StoredContainer> {
  const container = await current(engine, reference);
  if (!isActive(container.state)) return container;
  await endWith(engine, container, (held) =>
    held.connection.stop(signal === undefined ? 0 : (signalNumber(signal) ?? 0), timeoutS),
  );
  return container;
}

/** Takes over the cleaning up, ends the container as `end` does, and cleans up. */
export async function endWith(
  engine: Engine,
  container: StoredContainer,
  end: (held: Held) => void,
): Promise<void> {
  const held = await reach(container);
  if (held === undefined) {
    await untilReleased(engine, container.id);
    return;
  }
  const { connection } = held;
  try {
    checkAnswer(
      await connection.attach({ stdin: false, stdout: false, stderr: false, cleans: true }),
      'stop',
      container,
    );
    end(held);
    // A frozen process gets its signals when it is thawed.
    if (container.state.status === 'paused') await thawAll(container);
    await held.finished;
    await cleanUpContainer(engine, container);
    connection.cleaned();
  } catch (error) {
    if (!isTsbuildError(error, 'CONTAINER_LOST')) throw error;
    // It ended between our look and our word, or was killed: the next look tells.
  } finally {
    connection.close();
  }
  await untilReleased(engine, container.id);
}

/** Throws CONTAINER_NOT_RUNNING. */
export async function killContainer(engine: Engine, reference: string, signal: Signal): Promise<void> {
  const container = await current(engine, reference);
  requireActive(container);
  const held = await reach(container);
  if (held === undefined) throw notRunning(container);
  try {
    checkAnswer(await held.connection.kill(signalNumber(signal) ?? 0), 'signal', container);
    if (container.state.status === 'paused' && signal === 'SIGKILL') await thawAll(container);
    // As docker: who kills for good finds it dead afterwards.
    if (signal === 'SIGKILL') await held.finished.catch(() => undefined);
  } finally {
    held.connection.close();
  }
}

/** The exit status of the end that comes next, or of the last one where it does not run. */
export async function waitForContainer(
  engine: Engine,
  reference: string,
): Promise<Pick<MonitorEnd, 'exitCode'>> {
  const container = await current(engine, reference);
  if (!isActive(container.state)) return container.state;
  const held = await reach(container);
  try {
    if (held !== undefined) return await held.ended;
  } catch (error) {
    if (!isTsbuildError(error, 'CONTAINER_LOST')) throw error;
  } finally {
    held?.connection.close();
  }
  return (await untilReleased(engine, container.id))?.state ?? { exitCode: 137 };
}

/** Throws CONTAINER_NOT_RUNNING, and where it is paused already. */
export async function pauseContainer(engine: Engine, reference: string): Promise<void> {
  const container = await current(engine, reference);
  requireActive(container);
  if (container.state.status === 'paused')
    throw new TsbuildError(
      'CONTAINER_RUNNING',
      `container ${JSON.stringify(container.config.name)} is already paused`,
    );
  await freeze(placeOf(container));
  await tellPaused(container, true);
}

export async function unpauseContainer(engine: Engine, reference: string): Promise<void> {
  const container = await current(engine, reference);
  if (container.state.status !== 'paused')
    throw new TsbuildError(
      'CONTAINER_NOT_RUNNING',
      `container ${JSON.stringify(container.config.name)} is not paused`,
    );
  await thaw(placeOf(container));
  await tellPaused(container, false);
}

async function tellPaused(container: StoredContainer, isPaused: boolean): Promise<void> {
  const held = await reach(container);
  if (held === undefined) throw notRunning(container);
  try {
    checkAnswer(await held.connection.setPaused(isPaused), isPaused ? 'pause' : 'unpause', container);
  } finally {
    held.connection.close();
  }
}

function placeOf({ directory, config }: StoredContainer): CgroupPlace {
  const place = readHeld(directory)?.cgroup;
  if (place !== undefined) return place;
  throw new TsbuildError(
    'KERNEL_UNSUPPORTED',
    `container ${JSON.stringify(config.name)} has no cgroup that could be frozen`,
  );
}

async function thawAll(container: StoredContainer): Promise<void> {
  const place = readHeld(container.directory)?.cgroup;
  if (place !== undefined) await thaw(place);
}

function notRunning({ config }: StoredContainer): TsbuildError {
  return new TsbuildError('CONTAINER_NOT_RUNNING', `container ${JSON.stringify(config.name)} is not running`);
}

/** Throws CONTAINER_NAME_IN_USE, USAGE. */
export async function renameContainer(engine: Engine, reference: string, name: string): Promise<void> {
  const { id, config, state } = await current(engine, reference);
  if (config.name === name)
    throw new TsbuildError(
      'CONTAINER_NAME_IN_USE',
      `renaming container ${JSON.stringify(name)} to the name that it has`,
    );
  engine.containers.rename(id, name);
  if (isActive(state) && readHeld(engine.containers.directoryOf(id))?.networks === true)
    await (await engine.networks()).rename(id, name);
}

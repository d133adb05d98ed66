/** `run`: create, start, wait, clean up. What the library offers, and the pieces that the command line uses. */
import type { MonitorEnd } from '../../native/monitor.ts';
import type { StoredContainer } from '../runtime/container.ts';
import { createContainer } from './containers/create.ts';
import { cleanUpContainer, discardContainer } from './containers/release.ts';
import type { CreateRequest } from './containers/request.ts';
import { startContainer, type StartedContainer, type StartOptions } from './containers/start.ts';
import type { Engine } from './engine.ts';
import type { CallOptions } from './with-vertex.ts';

export interface RunOptions extends CallOptions, Omit<StartOptions, 'signal'> {
  /** Told as soon as there is an id. */
  readonly onCreated?: (container: StoredContainer) => void;
  readonly onStarted?: (started: StartedContainer) => void;
}

export interface RunOutcome extends MonitorEnd {
  readonly id: string;
}

/**
 * Resolves at the first end of the program; what it leaves is cleaned up, unless its restart policy starts it again.
 * Throws what `createContainer` and `startContainer` throw.
 */
export async function runContainer(
  engine: Engine,
  request: CreateRequest,
  options: RunOptions,
): Promise<RunOutcome> {
  const { container, started } = await beginRun(engine, request, options);
  options.onStarted?.(started);
  const end = await started.ended;
  await endRun(engine, container, started, end);
  return { id: container.id, ...end };
}

/** A new container that runs; with --rm nothing is left where it cannot be started. */
export async function beginRun(
  engine: Engine,
  request: CreateRequest,
  options: RunOptions,
): Promise<{ readonly container: StoredContainer; readonly started: StartedContainer }> {
  const container = await createContainer(engine, request, { ...options, forRun: true });
  try {
    options.onCreated?.(container);
    return { container, started: await startContainer(engine, container, options) };
  } catch (error) {
    if (container.config.autoRemove) await discardContainer(engine, container, { volumes: true });
    throw error;
  }
}

/** After an end of its program that this process was told of. */
export async function endRun(
  engine: Engine,
  container: StoredContainer,
  started: StartedContainer,
  end: MonitorEnd,
): Promise<void> {
  if (!end.final) {
    await started.detach();
    return;
  }
  await cleanUpContainer(engine, container);
  started.cleaned();
}

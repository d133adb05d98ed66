/** `run`: create, start, wait, clean up. What the library offers, and the pieces that the command line uses. */
import type { MonitorEnd } from '../../native/monitor.ts';
import { memoryReport } from '../runtime/cgroups/oom.ts';
import { readHeld } from '../runtime/container-files.ts';
import type { StoredContainer } from '../runtime/container.ts';
import type { MemoryReport } from '../runtime/runtime.ts';
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
  /** Where something was killed for want of memory. */
  readonly memory?: MemoryReport;
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
  const memory = await endRun(engine, container, started, end);
  return { id: container.id, ...end, ...(memory === undefined ? {} : { memory }) };
}

/** A new container that runs; where it cannot be started it is left as created, with --rm nothing is. */
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
    else keepCreated(engine, container);
    throw error;
  }
}

/** Without a creator it is what it looks like: a container that somebody may start or remove. */
function keepCreated({ containers }: Engine, { id }: StoredContainer): void {
  const found = containers.get(id);
  if (found === undefined) return;
  const { creator, ...config } = found.config;
  if (creator !== undefined) containers.save(config);
}

/**
 * After an end of its program that this process was told of: what is to be said of its memory, where something was
 * killed for want of it.
 */
export async function endRun(
  engine: Engine,
  container: StoredContainer,
  started: StartedContainer,
  end: MonitorEnd,
): Promise<MemoryReport | undefined> {
  const place = end.oomKilled ? readHeld(container.directory)?.cgroup : undefined;
  const memory = place === undefined ? undefined : memoryReport(place);
  if (end.final) {
    await cleanUpContainer(engine, container);
    started.cleaned();
  } else await started.detach();
  return memory;
}

/** Talking to the monitor of a container, or finding that it has none. */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  connectMonitor,
  type MonitorConnection,
  type MonitorEnd,
  type MonitorEvents,
} from '../../../native/monitor.ts';
import { TsbuildError } from '../../base/errors.ts';
import { isActive, isHeld, shortID, type StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';
import { repairContainer } from './repair.ts';

export interface Held {
  readonly connection: MonitorConnection;
  /** At the first end of the process. Rejects with CONTAINER_LOST. */
  readonly ended: Promise<MonitorEnd>;
  /** When it will not be started again. Rejects with CONTAINER_LOST. */
  readonly finished: Promise<MonitorEnd>;
}

/** undefined where nobody holds it. */
export async function reach(
  { directory }: StoredContainer,
  events: Pick<MonitorEvents, 'output'> = {},
): Promise<Held | undefined> {
  let settleEnd: (end: MonitorEnd) => void = () => undefined;
  let settleFinish: (end: MonitorEnd) => void = () => undefined;
  const fails: ((error: unknown) => void)[] = [];
  const ended = new Promise<MonitorEnd>((resolve, reject) => {
    settleEnd = resolve;
    fails.push(reject);
  });
  const finished = new Promise<MonitorEnd>((resolve, reject) => {
    settleFinish = resolve;
    fails.push(reject);
  });
  // why: who asks for one of them is not to be told of the other.
  ended.catch(() => undefined);
  finished.catch(() => undefined);
  const connection = await connectMonitor(directory, {
    ...events,
    ended(end) {
      settleEnd(end);
      if (end.final) settleFinish(end);
    },
    lost() {
      const lost = new TsbuildError('CONTAINER_LOST', "lost the connection to the container's monitor");
      for (const fail of fails) fail(lost);
    },
  });
  return connection === undefined ? undefined : { connection, ended, finished };
}

/** As it is now, after what killed processes left of it was put right. Throws CONTAINER_NOT_FOUND. */
export async function current(engine: Engine, reference: string): Promise<StoredContainer> {
  const found = engine.containers.require(reference);
  if ((await repairContainer(engine, found)) === undefined) return found;
  return engine.containers.require(reference);
}

const ROUNDS = 2000;
const ROUND_MS = 5;

/** Waits until nobody cleans up after it any more. */
export async function untilReleased(engine: Engine, id: string): Promise<StoredContainer | undefined> {
  for (let round = 0; ; round += 1) {
    const container = engine.containers.get(id);
    if (container === undefined || !isHeld(container.state) || round === ROUNDS) return container;
    await sleep(ROUND_MS);
  }
}

/** Throws CONTAINER_NOT_RUNNING. */
export function requireActive({ id, config, state }: StoredContainer): void {
  if (isActive(state)) return;
  throw new TsbuildError(
    'CONTAINER_NOT_RUNNING',
    `container ${JSON.stringify(config.name)} (${shortID(id)}) is not running`,
    { hint: `start it with "tsbuild start ${config.name}"` },
  );
}

/** Throws for an errno that a monitor answered; `action` reads like "signal". */
export function checkAnswer(errno: number, action: string, { config }: StoredContainer): void {
  if (errno === 0) return;
  if (errno === constants.errno.ESRCH)
    throw new TsbuildError(
      'CONTAINER_NOT_RUNNING',
      `container ${JSON.stringify(config.name)} is not running`,
    );
  throw new TsbuildError(
    'IO_FAILED',
    `cannot ${action} container ${JSON.stringify(config.name)}: errno ${errno}`,
  );
}

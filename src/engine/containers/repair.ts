/**
 * What killed processes left of containers: told by the pids and start times that are written down.
 *
 * A container whose monitor was killed is killed with it by the kernel (PR_SET_PDEATHSIG), unless its first process
 * changed its own user, which clears that; such a one is killed here. It is not adopted: its output would go nowhere.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isOwnerAlive, startTimeOf } from '../../base/owner.ts';
import { thaw } from '../../runtime/cgroups/freeze.ts';
import { readHeld } from '../../runtime/container-files.ts';
import { isActive, isHeld, shortID, type StoredContainer } from '../../runtime/container.ts';
import { formatTime } from '../../oci/documents.ts';
import type { Engine } from '../engine.ts';
import { cleanUpContainer, discardContainer } from './release.ts';

/** Waiting for a process that was killed. */
const ROUNDS = 500;
const ROUND_MS = 10;

/** Puts right what is not; one sentence per finding. Containers that somebody starts or holds are left alone. */
export async function repairContainers(engine: Engine): Promise<readonly string[]> {
  const findings: string[] = [];
  const swept = engine.containers.sweep();
  if (swept > 0) findings.push(`${swept} containers were half made or half removed`);
  for (const container of engine.containers.list()) {
    const finding = await repairContainer(engine, container);
    if (finding !== undefined) findings.push(`container ${shortID(container.id)} ${finding}`);
  }
  return findings;
}

/** Whether nobody runs it, starts it or cleans up after it. */
export function isAbandoned({ state, directory }: StoredContainer): boolean {
  const held = readHeld(directory);
  return !isHeld(state) && (held === undefined || !isOwnerAlive(held.starter));
}

/** What was wrong; undefined where nothing was. */
export async function repairContainer(
  engine: Engine,
  container: StoredContainer,
): Promise<string | undefined> {
  const { config, state, directory } = container;
  if (isHeld(state)) return undefined;
  if (isActive(state)) {
    await endLost(engine, container);
    return 'had lost its monitor';
  }
  const held = readHeld(directory);
  if (held !== undefined && isOwnerAlive(held.starter)) return undefined;
  if (state.status === 'exited' && config.autoRemove) {
    await discardContainer(engine, container, { volumes: true });
    return 'was to be removed';
  }
  if (state.status === 'created' && config.creator !== undefined && !isOwnerAlive(config.creator)) {
    await discardContainer(engine, container, { volumes: true });
    return 'was never started by the run that made it';
  }
  if (held === undefined) return undefined;
  await cleanUpContainer(engine, container);
  return 'held networks or cgroups without running';
}

async function endLost(engine: Engine, container: StoredContainer): Promise<void> {
  const { id, state, directory } = container;
  const place = readHeld(directory)?.cgroup;
  // why: a frozen process of cgroup v1 dies when it is thawed.
  if (place !== undefined && state.status === 'paused') await thaw(place).catch(() => undefined);
  await killFirst(state.process);
  const rest = withoutProcesses(state);
  engine.containers.saveState(id, {
    ...rest,
    status: 'exited',
    exitCode: 137,
    error: 'its monitor was killed',
    finishedAt: formatTime(engine.host.now()),
  });
  await cleanUpContainer(engine, container);
}

async function killFirst(first: StoredContainer['state']['process']): Promise<void> {
  for (let round = 0; first !== undefined && startTimeOf(first.pid) === first.start; round += 1) {
    if (round === 0) process.kill(first.pid, 'SIGKILL');
    if (round === ROUNDS) return;
    await sleep(ROUND_MS);
  }
}

function withoutProcesses(state: StoredContainer['state']): StoredContainer['state'] {
  return Object.fromEntries(
    Object.entries(state).filter(([key]) => key !== 'process' && key !== 'monitor'),
  ) as unknown as StoredContainer['state'];
}

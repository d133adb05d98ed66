/** Who is in a cgroup, and ending all of them. */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { directoryOf, placesOf, type CgroupPlace } from './cgroup.ts';
import { cgroupTree, readCgroupFile, tryWrite } from './files.ts';
import { thaw } from './freeze.ts';

/** Process ids in a place and everything below it, as this process sees them; 0 is one that it cannot see. */
export function processesOf(place: CgroupPlace): readonly number[] {
  const found = new Set<number>();
  for (const each of placesOf(place))
    for (const directory of cgroupTree(directoryOf(each)))
      for (const line of (readCgroupFile(`${directory}/cgroup.procs`) ?? '').split('\n'))
        if (/^\d+$/.test(line)) found.add(Number(line));
  return [...found].toSorted((a, b) => a - b);
}

export function hasProcesses(place: CgroupPlace): boolean {
  const { unified } = place;
  const populated =
    unified === undefined
      ? undefined
      : /^populated ([01])$/m.exec(readCgroupFile(`${directoryOf(unified)}/cgroup.events`) ?? '')?.[1];
  return populated === undefined ? processesOf(place).length > 0 : populated === '1';
}

const ROUNDS = 100;
const ROUND_MS = 20;

/**
 * Sends a signal to everything in the place. SIGKILL comes back when nothing is left (or nothing goes: false), by
 * cgroup.kill where there is one (kernel >= 5.14), which no fork can outrun.
 */
export async function killAll(place: CgroupPlace, signal: NodeJS.Signals): Promise<boolean> {
  if (signal !== 'SIGKILL') {
    for (const pid of processesOf(place)) signalOne(pid, constants.signals[signal]);
    return true;
  }
  const { unified } = place;
  for (let round = 0; round < ROUNDS && hasProcesses(place); round += 1) {
    const refused = unified === undefined ? 'ENOENT' : tryWrite(`${directoryOf(unified)}/cgroup.kill`, '1');
    if (refused !== undefined)
      for (const pid of processesOf(place)) signalOne(pid, constants.signals.SIGKILL);
    // why: a frozen process of v1 dies when it is thawed.
    if (place.v1.some(({ controllers }) => controllers.includes('freezer'))) await thaw(place);
    if (!hasProcesses(place)) return true;
    await sleep(round < 5 ? 1 : ROUND_MS);
  }
  return !hasProcesses(place);
}

function signalOne(pid: number, signal: number): void {
  if (pid === 0) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone.
  }
}

/**
 * Names of unfinished work carry their owner, so that what a killed process left can be told from what a living
 * one is making: `PID.STARTED.REST`, where STARTED is the process's start time in clock ticks since boot
 * (proc(5), /proc/PID/stat field 22), so a recycled pid does not count.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from './errors.ts';
import { removeTree } from './remove-tree.ts';

/** Start time of a process; undefined where there is none (a zombie is none). */
export function startTimeOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : fields[19];
}

export function isOwnerAlive(name: string): boolean {
  const [pid, started] = name.split('.');
  return pid !== undefined && started !== undefined && startTimeOf(Number(pid)) === started;
}

/** Whose a name is that is being made, or removed, beside the thing itself: `NAME.<owner>`, `NAME.<owner>.old`. */
export function ownerOfHalf(name: string): string | undefined {
  return /^[^.]+(?:\.git)?\.(\d+\.\d+\.[0-9a-z]+)(?:\.old)?$/.exec(name)?.[1];
}

/** Removes what killed processes left in a directory of unfinished work; returns how many things. */
export function sweepUnowned(directory: string): number {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
  const left = names.filter((name) => !isOwnerAlive(name));
  return left.filter((name) => tryRemove(join(directory, name))).length;
}

/** false where something is still writing there (a cp(1) whose tsbuild was killed): the next sweep gets it. */
function tryRemove(path: string): boolean {
  try {
    removeTree(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOTEMPTY') return false;
    throw error;
  }
}

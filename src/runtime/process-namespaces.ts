/** Which namespaces and which moment a process belongs to, as /proc tells: what an ExecSpec needs to name a target. */
import { readFileSync, readlinkSync } from 'node:fs';
import { NAMESPACE } from '../../native/plan-ops.ts';
import { TsbuildError } from '../base/errors.ts';
import type { ExecSpec } from './runtime.ts';

const FILES = {
  mount: 'mnt',
  cgroup: 'cgroup',
  uts: 'uts',
  ipc: 'ipc',
  pid: 'pid',
  network: 'net',
  user: 'user',
  time: 'time',
} as const satisfies Record<keyof typeof NAMESPACE, string>;

/** Start time in clock ticks after boot (field 22 of /proc/PID/stat); undefined where the process is gone. */
export function processStartTime(pid: number): bigint | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : BigInt(fields[19] ?? '0');
  } catch {
    return undefined;
  }
}

/** CLONE_NEW* of the namespaces of `pid` that this process is not in itself. */
export function namespacesOf(pid: number): number {
  let flags = 0;
  for (const [kind, file] of Object.entries(FILES) as [keyof typeof FILES, string][]) {
    const theirs = linkOf(`/proc/${pid}/ns/${file}`);
    if (theirs !== undefined && theirs !== linkOf(`/proc/self/ns/${file}`)) flags |= NAMESPACE[kind];
  }
  return flags >>> 0;
}

/** The target for an ExecSpec. Throws CONTAINER_START_FAILED where the process is gone or another one by now. */
export function execTarget(pid: number, started?: bigint): ExecSpec['target'] {
  const now = processStartTime(pid);
  if (now === undefined || (started !== undefined && started !== now))
    throw new TsbuildError('CONTAINER_START_FAILED', `process ${pid} of the container is gone`);
  return { pid, started: now, namespaces: namespacesOf(pid) };
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

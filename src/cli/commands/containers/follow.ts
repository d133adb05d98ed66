/** From an attached container to an exit code: it ends, the user leaves it, or nobody reads its output any more. */
import type { MonitorEnd } from '../../../../native/monitor.ts';
import { isTsbuildError } from '../../../base/errors.ts';
import { describeMemory } from '../../../base/memory-text.ts';
import type { MemoryReport } from '../../../runtime/runtime.ts';
import { BROKEN_PIPE } from '../../output.ts';
import type { AttachedStreams } from './streams.ts';

const KILLED = 137;
const INTERRUPTED = 130;

export type FollowOutcome =
  | { readonly kind: 'ended'; readonly end: MonitorEnd }
  | { readonly kind: 'left'; readonly code: number };

/** Rejects with CONTAINER_LOST where the monitor was killed. */
export async function followContainer(
  ended: Promise<MonitorEnd>,
  streams: AttachedStreams,
): Promise<FollowOutcome> {
  try {
    const first = await Promise.race([ended, streams.detached, streams.broken, streams.interrupted]);
    if (first === 'detached') return { kind: 'left', code: 0 };
    if (first === 'broken') return { kind: 'left', code: BROKEN_PIPE };
    if (first === 'interrupted') return { kind: 'left', code: INTERRUPTED };
    return { kind: 'ended', end: first };
  } finally {
    streams.leave();
  }
}

/** Whatever keeps the program from starting is 125, but for what the program's own file causes. */
export function withRunExitCode(error: unknown): unknown {
  if (!isTsbuildError(error) || error.exitCode !== undefined || error.code === 'ABORTED') return error;
  return Object.assign(error, { exitCode: 125 });
}

/** That the kernel killed something, and how much memory there was: a line for standard error. */
export function memoryWarning(memory: MemoryReport, { exitCode }: MonitorEnd): string {
  const who = exitCode === KILLED ? 'the container' : 'a process of the container';
  return `warning: ${who} was killed: ${describeMemory(memory)}\n`;
}

/** Why a RUN failed, in words. */
import { TsbuildError } from '../../base/errors.ts';
import { describeMemory } from '../../base/memory-text.ts';
import type { ExitStatus, MemoryReport } from '../../runtime/runtime.ts';

export const MEMORY_HINT = 'give the step more with --memory, or let it need less (fewer jobs at a time)';

const SIGKILL = 9;

export function stepError(
  status: ExitStatus,
  lines: readonly string[],
  memory: MemoryReport | undefined,
): TsbuildError {
  const starved = memory !== undefined && memory.kills > 0 ? memory : undefined;
  const hint = starved === undefined ? hintFor(status, lines) : memoryHint(starved);
  return new TsbuildError('RUN_FAILED', `RUN ${describe(status, starved)}`, {
    output: lines,
    ...(hint === undefined ? {} : { hint }),
  });
}

function describe(status: ExitStatus, starved: MemoryReport | undefined): string {
  const end =
    status.kind === 'exited' ? `exited with code ${status.code}` : `was ended by signal ${status.signal}`;
  if (starved === undefined) return end;
  if (isKilled(status)) return `was killed: ${describeMemory(starved)}`;
  return `${end} after a process of it was killed: ${describeMemory(starved)}`;
}

function isKilled(status: ExitStatus): boolean {
  return status.kind === 'signaled' ? status.signal === SIGKILL : status.code === 128 + SIGKILL;
}

function memoryHint({ limit }: MemoryReport): string {
  return limit === undefined
    ? 'let the step need less (fewer jobs at a time): the memory of the machine, or of the cgroup above, was full'
    : MEMORY_HINT;
}

function hintFor(status: ExitStatus, lines: readonly string[]): string | undefined {
  if (isKilled(status)) return 'check the memory of the machine: the kernel or somebody else killed the step';
  const missing =
    status.kind === 'exited' && status.code === 127
      ? /([^\s:]+): (?:command )?not found/.exec(lines.at(-1) ?? '')
      : null;
  return missing?.[1] === undefined
    ? undefined
    : `install ${JSON.stringify(missing[1])} in an earlier step, or start from a base image that has it`;
}

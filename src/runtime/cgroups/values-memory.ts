/** Memory limits as files of cgroup v1 and v2. Pure. */
import { TsbuildError } from '../../base/errors.ts';
import { maxOf, swapOnly } from './conversions.ts';
import type { MemoryResources } from './resources.ts';
import { value, type FileValue } from './file-value.ts';

export function valuesOfMemory(memory: MemoryResources, version: 1 | 2 | undefined): readonly FileValue[] {
  check(memory);
  return version === 2 ? unified(memory) : legacy(memory);
}

function check({ limit, swap, swappiness }: MemoryResources): void {
  if (swap !== undefined && swap > 0 && limit === undefined)
    throw new TsbuildError('SPEC_INVALID', 'memory.swap is given without memory.limit', {
      hint: 'give both: swap is the sum of memory and swap',
    });
  if (swap !== undefined && swap > 0 && limit !== undefined && swap < limit)
    throw new TsbuildError('SPEC_INVALID', `memory.swap (${swap}) is less than memory.limit (${limit})`, {
      hint: 'swap is the sum of memory and swap: give at least the memory limit',
    });
  if (swappiness !== undefined && (swappiness < 0 || swappiness > 100))
    throw new TsbuildError('SPEC_INVALID', `memory.swappiness ${swappiness} is not between 0 and 100`);
}

/** The limit before the sum, which must never be less; an update turns that round where it has to. */
function legacy(memory: MemoryResources): readonly FileValue[] {
  const set = (name: keyof MemoryResources, file: string, amount: number | undefined): FileValue[] =>
    amount === undefined || amount === 0 ? [] : [value(`memory.${name}`, 'memory', [file, amount])];
  const optional = (values: readonly FileValue[]): FileValue[] =>
    values.map((each) => ({ ...each, optional: true }));
  return [
    ...set('reservation', 'memory.soft_limit_in_bytes', memory.reservation),
    ...set('limit', 'memory.limit_in_bytes', memory.limit),
    ...set('swap', 'memory.memsw.limit_in_bytes', memory.swap),
    // why: kernels since 5.11 account for it all the same, but refuse a limit of its own.
    ...optional(set('kernel', 'memory.kmem.limit_in_bytes', memory.kernel)),
    ...optional(set('kernelTCP', 'memory.kmem.tcp.limit_in_bytes', memory.kernelTCP)),
    ...(memory.swappiness === undefined
      ? []
      : [value('memory.swappiness', 'memory', ['memory.swappiness', memory.swappiness])]),
    ...(memory.disableOOMKiller === true
      ? [value('memory.disableOOMKiller', 'memory', ['memory.oom_control', 1])]
      : []),
  ];
}

/** v2 has neither swappiness nor a way without the OOM killer: what docker leaves out there, too. */
function unified(memory: MemoryResources): readonly FileValue[] {
  const { limit, swap, reservation } = memory;
  const alone = swap === undefined || swap === 0 ? undefined : swapOnly(limit, swap);
  return [
    ...(reservation === undefined || reservation === 0
      ? []
      : [value('memory.reservation', 'memory', ['memory.low', maxOf(reservation)])]),
    ...(alone === undefined
      ? []
      : [
          {
            ...value('memory.swap', 'memory', ['memory.swap.max', maxOf(alone)]),
            // A kernel without swap has no such file, and nothing to limit.
            optional: alone <= 0,
          },
        ]),
    ...(limit === undefined || limit === 0
      ? []
      : [value('memory.limit', 'memory', ['memory.max', maxOf(limit)])]),
  ];
}

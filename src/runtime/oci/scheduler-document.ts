/** `process.scheduler` of a config. Spec: OCI runtime-spec v1.2, config.md; sched_setattr(2). */
import { TsbuildError } from '../../base/errors.ts';
import type { Scheduling } from '../runtime.ts';
import type { Fields } from './fields.ts';

const POLICIES = [
  ...['SCHED_OTHER', 'SCHED_FIFO', 'SCHED_RR', 'SCHED_BATCH', 'SCHED_ISO', 'SCHED_IDLE', 'SCHED_DEADLINE'],
];
const SCHEDULER_FLAGS: Readonly<Record<string, bigint>> = {
  SCHED_FLAG_RESET_ON_FORK: 0x01n,
  SCHED_FLAG_RECLAIM: 0x02n,
  SCHED_FLAG_DL_OVERRUN: 0x04n,
  SCHED_FLAG_KEEP_POLICY: 0x08n,
  SCHED_FLAG_KEEP_PARAMS: 0x10n,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20n,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40n,
};
/** Nanoseconds, as the kernel bounds them; the upper one is its sign bit. */
const SHORTEST = 1024;
const LONGEST = 2 ** 63;

/** Throws SPEC_INVALID. */
export function schedulerOf(scheduler: Fields): Scheduling {
  const name = scheduler.required('policy', scheduler.text('policy'));
  const policy = POLICIES.indexOf(name);
  if (policy < 0) throw new TsbuildError('SPEC_INVALID', `invalid scheduler policy: ${JSON.stringify(name)}`);
  const nice = scheduler.number('nice') ?? 0;
  if (nice < -20 || nice > 19) throw new TsbuildError('SPEC_INVALID', `invalid scheduler.nice: ${nice}`);
  if (name === 'SCHED_DEADLINE') checkDeadline(scheduler);
  const big = (field: string): bigint => BigInt(scheduler.number(field) ?? 0);
  const flags = scheduler.texts('flags').reduce((all, flag) => {
    const bit = SCHEDULER_FLAGS[flag];
    if (bit === undefined)
      throw new TsbuildError('SPEC_INVALID', `invalid scheduler flag: ${JSON.stringify(flag)}`);
    return all | bit;
  }, 0n);
  return {
    ...{ policy, nice, priority: scheduler.number('priority') ?? 0, flags },
    ...{ runtime: big('runtime'), deadline: big('deadline'), period: big('period') },
  };
}

/** why: of all that is wrong with these three the kernel says EINVAL. The words are those of crun, which people look for. */
function checkDeadline(scheduler: Fields): void {
  const refuse = (what: string): TsbuildError =>
    new TsbuildError('SPEC_INVALID', `sched_setattr: \`SCHED_DEADLINE\` ${what}`);
  const { runtime, deadline } = {
    runtime: scheduler.number('runtime'),
    deadline: scheduler.number('deadline'),
  };
  if (runtime === undefined) throw refuse('requires `runtime`');
  if (deadline === undefined) throw refuse('requires `deadline`');
  if (runtime <= 0) throw refuse('runtime must be greater than 0');
  if (runtime < SHORTEST || runtime >= LONGEST)
    throw refuse(`runtime ${runtime} must be between ${SHORTEST} and ${LONGEST} ns`);
  if (runtime > deadline) throw refuse(`runtime ${runtime} must be <= deadline ${deadline}`);
  // why: without a period, or with one of 0, the kernel takes the deadline.
  const period = scheduler.number('period') ?? 0;
  if (period !== 0 && deadline > period) throw refuse(`deadline ${deadline} must be <= period ${period}`);
}

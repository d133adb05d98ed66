/** Processor limits as files of cgroup v1 and v2. Pure. */
import { maxOf, weightOfShares } from './conversions.ts';
import type { CpuResources } from './resources.ts';
import { value, type FileValue, type VersionOf } from './file-value.ts';

/** Microseconds, what the kernel takes where none is given. */
const DEFAULT_PERIOD = 100_000;

export function valuesOfCpu(cpu: CpuResources, versionOf: VersionOf): readonly FileValue[] {
  return [...(versionOf('cpu') === 2 ? unified(cpu) : legacy(cpu)), ...valuesOfCpuset(cpu)];
}

const isSet = (amount: number | undefined): amount is number => amount !== undefined && amount !== 0;

function legacy(cpu: CpuResources): readonly FileValue[] {
  const set = (name: keyof CpuResources, file: string, amount: number | undefined): FileValue[] =>
    isSet(amount) ? [value(`cpu.${name}`, 'cpu', [file, amount])] : [];
  return [
    ...set('shares', 'cpu.shares', cpu.shares),
    ...set('period', 'cpu.cfs_period_us', cpu.period),
    ...set('quota', 'cpu.cfs_quota_us', cpu.quota),
    ...given('burst', 'cpu.cfs_burst_us', cpu.burst),
    ...set('realtimePeriod', 'cpu.rt_period_us', cpu.realtimePeriod),
    ...set('realtimeRuntime', 'cpu.rt_runtime_us', cpu.realtimeRuntime),
    ...given('idle', 'cpu.idle', cpu.idle),
  ];
}

/** Amounts of which 0 is one, and what the kernel begins with: no loss where it has no such file. */
function given(name: 'burst' | 'idle', file: string, amount: number | undefined): FileValue[] {
  if (amount === undefined) return [];
  const made = value(`cpu.${name}`, 'cpu', [file, amount]);
  return [amount === 0 ? { ...made, optional: true } : made];
}

function unified(cpu: CpuResources): readonly FileValue[] {
  const { shares, quota, period, burst, idle } = cpu;
  // why: an idle group has no weight of its own; the kernel refuses to set it.
  const weight = isSet(shares) && !isSet(idle) ? weightOfShares(shares) : 0;
  return [
    ...given('idle', 'cpu.idle', idle),
    ...(weight === 0 ? [] : [value('cpu.shares', 'cpu', ['cpu.weight', weight])]),
    ...(isSet(quota) || isSet(period)
      ? [
          value(isSet(quota) ? 'cpu.quota' : 'cpu.period', 'cpu', [
            'cpu.max',
            `${maxOf(isSet(quota) ? quota : -1)} ${isSet(period) ? period : DEFAULT_PERIOD}`,
          ]),
        ]
      : []),
    ...given('burst', 'cpu.max.burst', burst),
  ];
}

function valuesOfCpuset({ cpus, mems }: CpuResources): readonly FileValue[] {
  return [
    ...(cpus === undefined || cpus === '' ? [] : [value('cpu.cpus', 'cpuset', ['cpuset.cpus', cpus])]),
    ...(mems === undefined || mems === '' ? [] : [value('cpu.mems', 'cpuset', ['cpuset.mems', mems])]),
  ];
}

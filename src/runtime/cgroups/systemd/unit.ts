/**
 * A container's scope: its name and slice, and its limits as systemd's properties. Pure.
 *
 * Everything is written into the cgroup by ourselves, too; systemd is told so that it does not undo it when it
 * reloads. Specs: systemd.resource-control(5), org.freedesktop.systemd1(5).
 */
import { TsbuildError } from '../../../base/errors.ts';
import { swapOnly, weightOfShares } from '../conversions.ts';
import type { Resources } from '../resources.ts';
import type { DBusValue } from './dbus-types.ts';

export interface UnitName {
  readonly slice: string;
  /** `runc-abc.scope`. */
  readonly unit: string;
}

export type Property = readonly [
  name: string,
  value: { readonly signature: string; readonly value: DBusValue },
];

/** Unlimited, UINT64_MAX. */
const INFINITY = 0xffffffffffffffffn;
const DEFAULT_PERIOD = 100_000;

/** `slice:prefix:name`, as runc and crun take it. Throws SPEC_INVALID. */
export function parseUnitPath(path: string): UnitName {
  const parts = path.split(':');
  const [slice = '', prefix = '', name = ''] = parts;
  const invalid = (why: string): TsbuildError =>
    new TsbuildError('SPEC_INVALID', `invalid cgroup path for systemd ${JSON.stringify(path)}: ${why}`, {
      hint: 'write it as SLICE:PREFIX:NAME, e.g. system.slice:tsbuild:web',
    });
  if (parts.length !== 3) throw invalid('it has no three parts');
  if (name === '') throw invalid('it has no name');
  if (!/^[A-Za-z0-9_.\\@-]*$/.test(slice + prefix + name)) throw invalid('no unit can be called that');
  if (slice !== '' && !slice.endsWith('.slice')) throw invalid('what contains it is no slice');
  const unit = prefix === '' ? name : `${prefix}-${name}`;
  if (unit.length > 200) throw invalid('it is too long');
  return {
    slice: slice === '' ? 'system.slice' : slice,
    unit: /\.(?:scope|slice)$/.test(unit) ? unit : `${unit}.scope`,
  };
}

const property = (name: string, signature: string, value: DBusValue): Property => [
  name,
  { signature, value },
];
const amount = (name: string, value: number): Property =>
  property(name, 't', value < 0 ? INFINITY : BigInt(value));

/** What a new scope is told besides its limits. `pid`: its first process. */
export function scopeProperties({ slice, unit }: UnitName, pid: number): readonly Property[] {
  const accounting = ['CPUAccounting', 'MemoryAccounting', 'TasksAccounting', 'IOAccounting'];
  return [
    property('Description', 's', `container ${unit}`),
    property('Slice', 's', slice),
    property('PIDs', 'au', [pid]),
    // Cgroups beneath it are ours.
    property('Delegate', 'b', true),
    property('DefaultDependencies', 'b', false),
    // A scope whose last process was killed for want of memory would stay as failed.
    property('CollectMode', 's', 'inactive-or-failed'),
    ...accounting.map((name) => property(name, 'b', true)),
  ];
}

/** Limits that systemd knows; the others are files alone. */
export function limitProperties(resources: Resources, version: 1 | 2): readonly Property[] {
  const { memory = {}, cpu = {}, pids, blockIO = {} } = resources;
  const isSet = (value: number | undefined): value is number => value !== undefined && value !== 0;
  const swap = memory.swap === undefined ? undefined : swapOnly(memory.limit, memory.swap);
  const io = blockIO.weight;
  return [
    ...(isSet(memory.limit) ? [amount(version === 1 ? 'MemoryLimit' : 'MemoryMax', memory.limit)] : []),
    ...(version === 2 && isSet(memory.reservation) ? [amount('MemoryLow', memory.reservation)] : []),
    ...(version === 2 && swap !== undefined ? [amount('MemorySwapMax', swap)] : []),
    ...(isSet(cpu.shares)
      ? [version === 1 ? amount('CPUShares', cpu.shares) : amount('CPUWeight', weightOfShares(cpu.shares))]
      : []),
    ...quotaProperties(cpu.quota, cpu.period),
    ...(version === 2 && cpu.cpus !== undefined && cpu.cpus !== ''
      ? [property('AllowedCPUs', 'ay', bitmap(cpu.cpus))]
      : []),
    ...(version === 2 && cpu.mems !== undefined && cpu.mems !== ''
      ? [property('AllowedMemoryNodes', 'ay', bitmap(cpu.mems))]
      : []),
    ...(pids?.limit === undefined ? [] : [amount('TasksMax', pids.limit <= 0 ? -1 : pids.limit)]),
    ...(version === 1 && isSet(io) ? [amount('BlockIOWeight', io)] : []),
  ];
}

/** Microseconds of processor for each second, in steps of ten milliseconds, which is all that systemd keeps. */
function quotaProperties(quota: number | undefined, period: number | undefined): readonly Property[] {
  if (quota === undefined || quota === 0) return [];
  const perSecond = (quota * 1e6) / (period === undefined || period === 0 ? DEFAULT_PERIOD : period);
  return [
    amount('CPUQuotaPerSecUSec', quota < 0 ? -1 : Math.ceil(perSecond / 10_000) * 10_000),
    ...(period === undefined || period === 0 ? [] : [amount('CPUQuotaPeriodUSec', period)]),
  ];
}

/** `0-2,8` as bits, least significant first. Throws SPEC_INVALID. */
export function bitmap(list: string): readonly number[] {
  const bytes: number[] = [];
  for (const part of list.split(',')) {
    const match = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match === null || last < first)
      throw new TsbuildError('SPEC_INVALID', `invalid list of processors or nodes: ${JSON.stringify(list)}`);
    for (let bit = first; bit <= last; bit += 1) {
      while (bytes.length <= bit >> 3) bytes.push(0);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  return bytes;
}

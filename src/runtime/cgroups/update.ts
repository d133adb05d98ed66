/** New limits for a cgroup that exists: `update` of the OCI command line and of docker's. */
import { TsbuildError } from '../../base/errors.ts';
import { filterDevices } from '../../../native/sys.ts';
import { directoryOf, type CgroupPlace } from './cgroup.ts';
import { placeOfValue } from './describe.ts';
import { compileDeviceProgram } from './device-program.ts';
import { isDeviceRule, ruleText } from './device-rules.ts';
import type { FileValue } from './file-value.ts';
import { cgroupError, readAmount, readCgroupFile, tryWrite } from './files.ts';
import { holderOf } from './hierarchies.ts';
import type { DeviceRule, Resources } from './resources.ts';
import { valuesOf } from './values.ts';

/**
 * Writes what is given and leaves the rest. Throws CGROUP_FAILED with the part of the config (`subject` before it),
 * SPEC_INVALID, KERNEL_UNSUPPORTED; values before the one that was refused stay.
 */
export function updateResources(place: CgroupPlace, resources: Resources, subject = ''): void {
  const full = withCurrentLimit(place, resources);
  checkUsage(place, full);
  const values = valuesOf(full, (controller) => holderOf(place, controller)?.version);
  for (const each of realtimeInOrder(place, inOrder(place, values))) writeValue(place, each, subject);
  if (resources.devices !== undefined) updateDevices(place, resources.devices, `${subject}devices`);
}

/** Swap alone may be given: it goes with the limit that is set. */
function withCurrentLimit(place: CgroupPlace, resources: Resources): Resources {
  const { memory } = resources;
  const holder = holderOf(place, 'memory');
  if (memory?.swap === undefined || memory.limit !== undefined || holder === undefined) return resources;
  const file = holder.version === 1 ? 'memory.limit_in_bytes' : 'memory.max';
  const limit = readAmount(`${directoryOf(holder)}/${file}`);
  return limit === undefined ? resources : { ...resources, memory: { ...memory, limit } };
}

function checkUsage(place: CgroupPlace, { memory }: Resources): void {
  const holder = holderOf(place, 'memory');
  if (memory?.checkBeforeUpdate !== true || memory.limit === undefined || memory.limit < 0) return;
  if (holder === undefined) return;
  const file = holder.version === 1 ? 'memory.usage_in_bytes' : 'memory.current';
  const usage = readAmount(`${directoryOf(holder)}/${file}`);
  if (usage !== undefined && usage > memory.limit)
    throw new TsbuildError(
      'CGROUP_FAILED',
      `memory.limit (${memory.limit}) is less than what is in use (${usage}), and would kill`,
      { hint: 'give more, or leave checkBeforeUpdate out' },
    );
}

/**
 * v1 keeps memory ≤ memory and swap at every moment, so a raise begins with the sum; and a period must fit the
 * quota that is there.
 */
function inOrder(place: CgroupPlace, values: readonly FileValue[]): readonly FileValue[] {
  const limit = values.find(({ subject }) => subject === 'memory.limit');
  const swap = values.find(({ subject }) => subject === 'memory.swap');
  const holder = holderOf(place, 'memory');
  if (holder?.version !== 1 || limit === undefined || swap === undefined) return values;
  const sum = readAmount(`${directoryOf(holder)}/memory.memsw.limit_in_bytes`) ?? Number.POSITIVE_INFINITY;
  const wanted = Number(limit.choices[0]?.[1]);
  const isRaise = wanted < 0 || wanted > sum;
  return isRaise ? [swap, ...values.filter((each) => each !== swap)] : values;
}

/** Realtime: no moment may have more runtime in a period than before and after, so less of it comes first. */
function realtimeInOrder(place: CgroupPlace, values: readonly FileValue[]): readonly FileValue[] {
  const runtime = values.find(({ subject }) => subject === 'cpu.realtimeRuntime');
  const holder = holderOf(place, 'cpu');
  if (runtime === undefined || holder?.version !== 1) return values;
  const now = readAmount(`${directoryOf(holder)}/cpu.rt_runtime_us`) ?? 0;
  const isLess = Number(runtime.choices[0]?.[1]) < now;
  return isLess ? [runtime, ...values.filter((each) => each !== runtime)] : values;
}

function writeValue(place: CgroupPlace, value: FileValue, prefix: string): void {
  const holder = placeOfValue(place, value);
  if (holder === undefined) return;
  const directory = directoryOf(holder);
  for (const [file, text] of value.choices) {
    const path = `${directory}/${file}`;
    const refused = file === 'cpu.max' ? writeCpuMax(path, value, text) : tryWrite(path, text);
    if (refused === undefined) return;
    if (refused === 'ENOENT' && value.choices.at(-1)?.[0] !== file) continue;
    if (refused === 'EINVAL' && file === 'cpu.cfs_period_us' && retryPeriod(directory, text)) return;
    if (value.optional !== true) throw cgroupError(`set ${prefix}${value.subject}`, path, refused);
  }
}

/** v2 has quota and period in one file: what is not given stays. */
function writeCpuMax(path: string, { subject }: FileValue, text: string): string | undefined {
  if (subject !== 'cpu.period') return tryWrite(path, text);
  const quota = readCgroupFile(path)?.split(' ')[0] ?? 'max';
  return tryWrite(path, `${quota} ${text.split(' ')[1] ?? ''}`);
}

/** A longer period with the old quota may be less than the kernel allows for: without a quota it is not. */
function retryPeriod(directory: string, period: string): boolean {
  const quota = readCgroupFile(`${directory}/cpu.cfs_quota_us`);
  if (quota === undefined || tryWrite(`${directory}/cpu.cfs_quota_us`, '-1') !== undefined) return false;
  const refused = tryWrite(`${directory}/cpu.cfs_period_us`, period);
  tryWrite(`${directory}/cpu.cfs_quota_us`, quota);
  return refused === undefined;
}

function updateDevices(place: CgroupPlace, given: readonly DeviceRule[], subject: string): void {
  const holder = holderOf(place, 'devices');
  const rules = given.filter(isDeviceRule);
  if (holder === undefined || rules.length === 0) return;
  const directory = directoryOf(holder);
  if (holder.version === 2) {
    filterDevices(directory, compileDeviceProgram(rules));
    return;
  }
  for (const [index, rule] of rules.entries()) {
    const path = `${directory}/devices.${rule.allow ? 'allow' : 'deny'}`;
    const refused = tryWrite(path, ruleText(rule));
    if (refused !== undefined) throw cgroupError(`set ${subject}[${index}]`, path, refused);
  }
}

/** Limits: `--memory`, `--cpus`, `--pids-limit`, `--blkio-weight` and their kin. Source: docker/cli, opts/{throttledevice,weightdevice,opts}.go; moby, daemon/daemon_unix.go. */
import type { DeviceRateRequest, LimitOptions } from '../../../runtime/container-options.ts';
import { badFlag, badFlags } from './bad-flag.ts';
import { parseBytes, parseInteger, parseNanoCpus } from './numbers.ts';

/** How flags are read: `text('memory')`. */
export interface LimitFlags {
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  boolean(name: string): boolean;
}

const MINIMUM_MEMORY = 6 << 20;

/** Throws USAGE. `cpus`: how many processors there are. */
export function parseLimits(flags: LimitFlags, cpus: number): LimitOptions {
  const limits: LimitOptions = {
    ...present('memory', bytes(flags, 'memory', '-m, --memory')),
    ...present('memorySwap', bytes(flags, 'memory-swap', '--memory-swap', true)),
    ...present('memoryReservation', bytes(flags, 'memory-reservation', '--memory-reservation')),
    ...present('memorySwappiness', integer(flags, 'memory-swappiness', 0, 100)),
    ...(flags.boolean('oom-kill-disable') ? { oomKillDisable: true } : {}),
    ...present('nanoCpus', nanoCpus(flags, cpus)),
    ...present('cpuPeriod', integer(flags, 'cpu-period', 1000, 1_000_000)),
    ...present('cpuQuota', integer(flags, 'cpu-quota', -1, Number.MAX_SAFE_INTEGER)),
    ...present('cpuShares', integer(flags, 'cpu-shares', 0, 262144, '-c, --cpu-shares')),
    ...present('cpusetCpus', cpuset(flags, 'cpuset-cpus')),
    ...present('cpusetMems', cpuset(flags, 'cpuset-mems')),
    ...present('pids', pidsLimit(flags)),
    ...present('blkioWeight', blkioWeight(flags)),
    ...devices('blkioWeightDevice', flags.list('blkio-weight-device').map(parseWeightDevice)),
    ...devices('deviceReadBps', rates(flags, 'device-read-bps', true)),
    ...devices('deviceWriteBps', rates(flags, 'device-write-bps', true)),
    ...devices('deviceReadIops', rates(flags, 'device-read-iops', false)),
    ...devices('deviceWriteIops', rates(flags, 'device-write-iops', false)),
  };
  checkTogether(limits);
  return limits;
}

function present<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}

function devices<K extends string, V>(key: K, list: readonly V[]): { readonly [P in K]?: readonly V[] } {
  return present(key, list.length === 0 ? undefined : list);
}

/** 0 is docker's "not limited". */
function bytes(flags: LimitFlags, name: string, shown: string, isSigned = false): number | undefined {
  const text = flags.text(name);
  if (text === undefined || text === '') return undefined;
  if (isSigned && text === '-1') return -1;
  const size = parseBytes(text);
  if (size === undefined) throw badFlag(shown, text, `invalid size: '${text}'`, 'write e.g. 512m or 1g');
  return size === 0 ? undefined : size;
}

function integer(
  flags: LimitFlags,
  name: string,
  minimum: number,
  maximum: number,
  shown = `--${name}`,
): number | undefined {
  const text = flags.text(name);
  if (text === undefined) return undefined;
  const value = parseInteger(text, { signed: minimum < 0 });
  if (value === undefined)
    throw badFlag(shown, text, `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (value === 0) return undefined;
  if (value < minimum || value > maximum)
    throw badFlag(shown, text, `${value} is not between ${minimum} and ${maximum}`);
  return value;
}

function nanoCpus(flags: LimitFlags, cpus: number): number | undefined {
  const text = flags.text('cpus');
  if (text === undefined || text === '') return undefined;
  const value = parseNanoCpus(text);
  if (value === undefined)
    throw badFlag('--cpus', text, `failed to parse ${text} as a rational number`, 'write e.g. 1.5');
  if (value === 0) return undefined;
  if (value < 1e7 || value > cpus * 1e9)
    throw badFlags(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  return value;
}

function cpuset(flags: LimitFlags, name: string): string | undefined {
  const text = flags.text(name);
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*$/.test(text))
    throw badFlag(
      `--${name}`,
      text,
      `invalid value ${text} for ${name.replace('-', ' ')}`,
      'write e.g. 0-2,4',
    );
  return text;
}

function pidsLimit(flags: LimitFlags): number | undefined {
  const text = flags.text('pids-limit');
  if (text === undefined) return undefined;
  const value = parseInteger(text, { signed: true });
  if (value === undefined)
    throw badFlag('--pids-limit', text, `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return value === 0 ? undefined : Math.max(-1, value);
}

function blkioWeight(flags: LimitFlags): number | undefined {
  const text = flags.text('blkio-weight');
  if (text === undefined || text === '0') return undefined;
  const value = parseInteger(text, { signed: false });
  if (value === undefined || value < 10 || value > 1000)
    throw badFlag('--blkio-weight', text, 'Range of blkio weight is from 10 to 1000');
  return value;
}

/** `PATH:WEIGHT`. */
function parseWeightDevice(text: string): { readonly path: string; readonly weight: number } {
  const { path, value } = splitDevice('--blkio-weight-device', text);
  const weight = parseInteger(value, { signed: false });
  if (weight === undefined || (weight > 0 && (weight < 10 || weight > 1000)))
    throw badFlag('--blkio-weight-device', text, `invalid weight for device: ${text}`, 'use 10 to 1000');
  return { path, weight };
}

function rates(flags: LimitFlags, name: string, isBytes: boolean): readonly DeviceRateRequest[] {
  return flags.list(name).map((text) => {
    const { path, value } = splitDevice(`--${name}`, text);
    const rate = isBytes ? parseBytes(value) : parseInteger(value, { signed: false });
    if (rate !== undefined) return { path, rate };
    const unit = isBytes
      ? '[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb'
      : '. Number must be a positive integer';
    throw badFlag(
      `--${name}`,
      text,
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>${unit}`,
    );
  });
}

function splitDevice(flag: string, text: string): { readonly path: string; readonly value: string } {
  const at = text.lastIndexOf(':');
  const [path, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (at < 0 || value === '') throw badFlag(flag, text, `bad format: ${text}`);
  if (!path.startsWith('/dev/')) throw badFlag(flag, text, `bad format for device path: ${text}`);
  return { path, value };
}

function checkTogether(limits: LimitOptions): void {
  const { memory, memorySwap, memoryReservation, nanoCpus: cpus, cpuPeriod, cpuQuota } = limits;
  if (memory !== undefined && memory < MINIMUM_MEMORY) throw badFlags('Minimum memory limit allowed is 6MB');
  if (memorySwap !== undefined && memorySwap > 0) {
    if (memory === undefined)
      throw badFlags('You should always set the Memory limit when using Memoryswap limit, see usage');
    if (memorySwap < memory)
      throw badFlags('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memory !== undefined && memoryReservation !== undefined && memory < memoryReservation)
    throw badFlags('Minimum memory limit can not be less than memory reservation limit, see usage');
  if (cpus !== undefined && (cpuPeriod !== undefined || cpuQuota !== undefined))
    throw badFlags(
      `Conflicting options: Nano CPUs and CPU ${cpuPeriod === undefined ? 'Quota' : 'Period'} cannot both be set.`,
    );
}

/** Limits as flags give them into what cgroups are told (linux.resources of OCI). Devices are looked up here. */
import { statSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import { containerDevices } from '../../runtime/cgroups/device-rules.ts';
import type {
  BlockIOResources,
  CpuResources,
  DeviceRate,
  DeviceRule,
  MemoryResources,
  Resources,
} from '../../runtime/cgroups/resources.ts';
import { deviceNumber } from './host-devices.ts';
import type { DeviceRateRequest, LimitOptions } from '../../runtime/container-options.ts';

const PERIOD_US = 100_000;

/** Throws SPEC_INVALID where a device that is to be limited is not there. */
export function resourcesOf(
  limits: LimitOptions,
  devices: readonly DeviceRule[],
  { privileged }: { readonly privileged: boolean },
): Resources {
  return { ...limitResources(limits), devices: containerDevices(devices, { privileged }) };
}

/** What `update` changes, too. */
export function limitResources(limits: LimitOptions): Resources {
  const memory = memoryOf(limits);
  const cpu = cpuOf(limits);
  const blockIO = blockIOOf(limits);
  return {
    ...(Object.keys(memory).length === 0 ? {} : { memory }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(Object.keys(blockIO).length === 0 ? {} : { blockIO }),
    ...(limits.pids === undefined ? {} : { pids: { limit: limits.pids } }),
  };
}

function defined<T extends object>(value: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}

/** As docker: a limit alone lets as much go to swap again. */
function memoryOf(limits: LimitOptions): MemoryResources {
  const { memory, memorySwap, memoryReservation, memorySwappiness, oomKillDisable } = limits;
  return defined<MemoryResources>({
    limit: memory,
    swap: memorySwap ?? (memory === undefined || memory < 0 ? undefined : memory * 2),
    reservation: memoryReservation,
    swappiness: memorySwappiness,
    disableOOMKiller: oomKillDisable,
  });
}

function cpuOf({
  nanoCpus,
  cpuPeriod,
  cpuQuota,
  cpuShares,
  cpusetCpus,
  cpusetMems,
}: LimitOptions): CpuResources {
  return defined<CpuResources>({
    shares: cpuShares,
    quota: nanoCpus === undefined ? cpuQuota : Math.floor((nanoCpus * PERIOD_US) / 1e9),
    period: nanoCpus === undefined ? cpuPeriod : PERIOD_US,
    cpus: cpusetCpus,
    mems: cpusetMems,
  });
}

function blockIOOf(limits: LimitOptions): BlockIOResources {
  const rates = (list: readonly DeviceRateRequest[] | undefined): readonly DeviceRate[] | undefined =>
    list?.map(({ path, rate }) => ({ ...numberOf(path), rate }));
  return defined<BlockIOResources>({
    weight: limits.blkioWeight,
    leafWeight: undefined,
    weightDevice: limits.blkioWeightDevice?.map(({ path, weight }) => ({ ...numberOf(path), weight })),
    throttleReadBpsDevice: rates(limits.deviceReadBps),
    throttleWriteBpsDevice: rates(limits.deviceWriteBps),
    throttleReadIOPSDevice: rates(limits.deviceReadIops),
    throttleWriteIOPSDevice: rates(limits.deviceWriteIops),
  });
}

function numberOf(path: string): { readonly major: number; readonly minor: number } {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isBlockDevice() === true) return deviceNumber(stat.rdev);
  throw new TsbuildError('SPEC_INVALID', `there is no block device ${JSON.stringify(path)}`, {
    hint: 'name a block device of the host, as lsblk(8) shows them',
  });
}

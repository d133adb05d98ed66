/**
 * What a container has used, in one shape for v1 and v2: `tsbuild stats` and the OCI `events` read the same.
 *
 * Amounts are bytes and counts since the cgroup was made, times nanoseconds; a missing field is one that no
 * hierarchy tells. Specs: cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst; cgroup-v2.rst.
 */
import { readdirSync } from 'node:fs';
import { directoryOf, type CgroupPlace, type PlaceInHierarchy } from './cgroup.ts';
import { readAmount, readCgroupFile, readCount, readTable } from './files.ts';
import { holderOf } from './hierarchies.ts';

export interface CpuStats {
  readonly usage: number;
  readonly user: number;
  readonly system: number;
  /** v1 alone. */
  readonly perCpu?: readonly number[];
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttled: number;
}

export interface MemoryStats {
  readonly usage: number;
  readonly limit: number | undefined;
  readonly peak: number | undefined;
  /** Times that the limit was hit. */
  readonly failures: number;
  /** Page cache that can be dropped at once: tools subtract it from the usage. */
  readonly inactiveFile: number;
  readonly cache: number;
  /** v1: memory and swap together; v2: swap alone. */
  readonly swap?: { readonly usage: number; readonly limit: number | undefined };
  readonly kernel?: number;
  /** memory.stat as it is. */
  readonly raw: Readonly<Record<string, number>>;
}

export interface BlockIOEntry {
  readonly major: number;
  readonly minor: number;
  readonly operation: 'Read' | 'Write';
  readonly bytes: number;
  readonly operations: number;
}

export interface CgroupStats {
  readonly cpu?: CpuStats;
  readonly memory?: MemoryStats;
  readonly pids?: { readonly current: number; readonly limit: number | undefined };
  readonly blockIO?: readonly BlockIOEntry[];
  readonly hugetlb: Readonly<
    Record<string, { readonly usage: number; readonly peak: number | undefined; readonly failures: number }>
  >;
}

export function statsOf(place: CgroupPlace): CgroupStats {
  const cpu = cpuStats(place);
  const memory = withHolder(place, 'memory', memoryStats);
  const pids = withHolder(place, 'pids', pidsStats);
  const blockIO = withHolder(place, 'blkio', blockIOStats);
  return {
    ...(cpu === undefined ? {} : { cpu }),
    ...(memory === undefined ? {} : { memory }),
    ...(pids === undefined ? {} : { pids }),
    ...(blockIO === undefined ? {} : { blockIO }),
    hugetlb: withHolder(place, 'hugetlb', hugetlbStats) ?? {},
  };
}

function withHolder<T>(
  place: CgroupPlace,
  controller: string,
  read: (directory: string, version: 1 | 2, holder: PlaceInHierarchy) => T | undefined,
): T | undefined {
  const holder = holderOf(place, controller);
  return holder === undefined ? undefined : read(directoryOf(holder), holder.version, holder);
}

/** cpu.stat of v2 is there without the controller, in a hybrid's v2 hierarchy, too. */
function cpuStats(place: CgroupPlace): CpuStats | undefined {
  const accounting = place.v1.find(({ controllers }) => controllers.includes('cpuacct'));
  const holder = holderOf(place, 'cpu');
  const stat =
    holder === undefined ? new Map<string, number>() : readTable(`${directoryOf(holder)}/cpu.stat`);
  const throttling = {
    periods: stat.get('nr_periods') ?? 0,
    throttledPeriods: stat.get('nr_throttled') ?? 0,
    throttled: stat.get('throttled_time') ?? (stat.get('throttled_usec') ?? 0) * 1000,
  };
  if (accounting !== undefined) return { ...legacyUsage(directoryOf(accounting)), ...throttling };
  const { unified } = place;
  const times = unified === undefined ? stat : readTable(`${directoryOf(unified)}/cpu.stat`);
  const usage = times.get('usage_usec');
  if (usage === undefined) return undefined;
  return {
    usage: usage * 1000,
    user: (times.get('user_usec') ?? 0) * 1000,
    system: (times.get('system_usec') ?? 0) * 1000,
    ...throttling,
  };
}

function legacyUsage(directory: string): Omit<CpuStats, 'periods' | 'throttledPeriods' | 'throttled'> {
  return {
    usage: readCount(`${directory}/cpuacct.usage`) ?? 0,
    user: readCount(`${directory}/cpuacct.usage_user`) ?? 0,
    system: readCount(`${directory}/cpuacct.usage_sys`) ?? 0,
    perCpu: (readCgroupFile(`${directory}/cpuacct.usage_percpu`) ?? '')
      .split(/\s+/)
      .filter(Boolean)
      .map(Number),
  };
}

function memoryStats(directory: string, version: 1 | 2): MemoryStats | undefined {
  const stat = readTable(`${directory}/memory.stat`);
  const raw = Object.fromEntries(stat);
  const amount = (file: string): number | undefined => readAmount(`${directory}/${file}`);
  if (version === 1) {
    const usage = amount('memory.usage_in_bytes');
    const swap = amount('memory.memsw.usage_in_bytes');
    const kernel = amount('memory.kmem.usage_in_bytes');
    if (usage === undefined) return undefined;
    return {
      usage,
      limit: amount('memory.limit_in_bytes'),
      peak: amount('memory.max_usage_in_bytes'),
      failures: amount('memory.failcnt') ?? 0,
      inactiveFile: stat.get('total_inactive_file') ?? 0,
      cache: stat.get('total_cache') ?? stat.get('cache') ?? 0,
      ...(swap === undefined ? {} : { swap: { usage: swap, limit: amount('memory.memsw.limit_in_bytes') } }),
      ...(kernel === undefined ? {} : { kernel }),
      raw,
    };
  }
  const usage = amount('memory.current');
  const swap = amount('memory.swap.current');
  const kernel = stat.get('kernel');
  if (usage === undefined) return undefined;
  return {
    usage,
    limit: amount('memory.max'),
    peak: amount('memory.peak'),
    failures: readTable(`${directory}/memory.events`).get('max') ?? 0,
    inactiveFile: stat.get('inactive_file') ?? 0,
    cache: stat.get('file') ?? 0,
    ...(swap === undefined ? {} : { swap: { usage: swap, limit: amount('memory.swap.max') } }),
    ...(kernel === undefined ? {} : { kernel }),
    raw,
  };
}

function pidsStats(directory: string): CgroupStats['pids'] {
  const current = readCount(`${directory}/pids.current`);
  return current === undefined ? undefined : { current, limit: readAmount(`${directory}/pids.max`) };
}

function blockIOStats(directory: string, version: 1 | 2): readonly BlockIOEntry[] {
  return version === 1 ? legacyBlockIO(directory) : unifiedBlockIO(directory);
}

function legacyBlockIO(directory: string): readonly BlockIOEntry[] {
  const read = (name: string): Map<string, number> => {
    const text =
      readCgroupFile(`${directory}/blkio.throttle.${name}_recursive`) ??
      readCgroupFile(`${directory}/blkio.throttle.${name}`) ??
      '';
    return new Map(
      text.split('\n').flatMap((line): [string, number][] => {
        const match = /^(\d+:\d+ (?:Read|Write)) (\d+)$/.exec(line);
        return match?.[1] === undefined ? [] : [[match[1], Number(match[2])]];
      }),
    );
  };
  const operations = read('io_serviced');
  return [...read('io_service_bytes')].map(([key, bytes]) => {
    const [device = '', operation] = key.split(' ');
    const [major, minor] = device.split(':');
    return {
      major: Number(major),
      minor: Number(minor),
      operation: operation === 'Read' ? 'Read' : 'Write',
      bytes,
      operations: operations.get(key) ?? 0,
    };
  });
}

function unifiedBlockIO(directory: string): readonly BlockIOEntry[] {
  return (readCgroupFile(`${directory}/io.stat`) ?? '').split('\n').flatMap((line): BlockIOEntry[] => {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (match === null) return [];
    const fields = new Map(
      (match[3] ?? '').split(' ').map((each) => each.split('=', 2) as [string, string | undefined]),
    );
    const count = (key: string): number => Number(fields.get(key) ?? 0);
    const device = { major: Number(match[1]), minor: Number(match[2]) };
    return [
      { ...device, operation: 'Read', bytes: count('rbytes'), operations: count('rios') },
      { ...device, operation: 'Write', bytes: count('wbytes'), operations: count('wios') },
    ];
  });
}

function hugetlbStats(directory: string, version: 1 | 2): CgroupStats['hugetlb'] {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch {
    return {};
  }
  const suffix = version === 1 ? 'usage_in_bytes' : 'current';
  const sizes = names.flatMap(
    (name) => new RegExp(`^hugetlb\\.([0-9]+[KMG]B)\\.${suffix}$`).exec(name)?.[1] ?? [],
  );
  return Object.fromEntries(
    sizes.map((size) => {
      const file = (name: string): string => `${directory}/hugetlb.${size}.${name}`;
      return [
        size,
        {
          usage: readAmount(file(suffix)) ?? 0,
          peak: version === 1 ? readAmount(file('max_usage_in_bytes')) : undefined,
          failures:
            version === 1 ? (readCount(file('failcnt')) ?? 0) : (readTable(file('events')).get('max') ?? 0),
        },
      ];
    }),
  );
}

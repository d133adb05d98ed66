/** Statistics of a container in the shape that `events` of other runtimes prints, and engines parse. */
import type { Json } from '../../base/json.ts';
import { directoryOf, type CgroupPlace } from '../cgroups/cgroup.ts';
import { readCgroupFile } from '../cgroups/files.ts';
import { holderOf } from '../cgroups/hierarchies.ts';
import { statsOf, type CgroupStats } from '../cgroups/stats.ts';

/** One `stats` event. */
export function statsEvent(id: string, place: CgroupPlace): Json {
  const stats = statsOf(place);
  return {
    type: 'stats',
    id,
    data: {
      cpu: cpu(stats),
      cpuset: cpuset(place),
      memory: memory(stats),
      pids: { current: stats.pids?.current ?? 0, limit: stats.pids?.limit ?? 0 },
      blkio: blkio(stats),
      hugetlb: Object.fromEntries(
        Object.entries(stats.hugetlb).map(([size, { usage, peak, failures }]) => [
          size,
          { usage, max: peak ?? 0, failcnt: failures },
        ]),
      ),
      intel_rdt: {},
      network_interfaces: null,
    },
  };
}

function cpu({ cpu: of }: CgroupStats): Json {
  return {
    usage: {
      total: of?.usage ?? 0,
      percpu: of?.perCpu ?? [],
      kernel: of?.system ?? 0,
      user: of?.user ?? 0,
    },
    throttling: {
      periods: of?.periods ?? 0,
      throttledPeriods: of?.throttledPeriods ?? 0,
      throttledTime: of?.throttled ?? 0,
    },
  };
}

/** `0-1,3` as a list of numbers. */
function cpuset(place: CgroupPlace): Json {
  const holder = holderOf(place, 'cpuset');
  const members = (file: string): readonly number[] =>
    (holder === undefined ? '' : (readCgroupFile(`${directoryOf(holder)}/${file}`) ?? ''))
      .split(',')
      .filter((part) => part !== '')
      .flatMap((part) => {
        const [first = 0, last = first] = part.split('-').map(Number);
        return Array.from({ length: last - first + 1 }, (_, index) => first + index);
      });
  const flag = (file: string): number =>
    Number(holder === undefined ? 0 : (readCgroupFile(`${directoryOf(holder)}/${file}`) ?? 0));
  return {
    cpus: members('cpuset.cpus'),
    cpu_exclusive: flag('cpuset.cpu_exclusive'),
    mems: members('cpuset.mems'),
    mem_hardwall: flag('cpuset.mem_hardwall'),
    mem_exclusive: flag('cpuset.mem_exclusive'),
    memory_migrate: flag('cpuset.memory_migrate'),
    memory_spread_page: flag('cpuset.memory_spread_page'),
    memory_spread_slab: flag('cpuset.memory_spread_slab'),
    memory_pressure: flag('cpuset.memory_pressure'),
    sched_load_balance: flag('cpuset.sched_load_balance'),
    sched_relax_domain_level: flag('cpuset.sched_relax_domain_level'),
  };
}

/** The kernel's "no limit" as a number that fits. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;

function memory({ memory: of }: CgroupStats): Json {
  const entry = (usage: number, limit: number | undefined, max = 0, failcnt = 0): Json => ({
    ...{ limit: limit ?? UNLIMITED, usage, max, failcnt },
  });
  return {
    cache: of?.cache ?? 0,
    usage: entry(of?.usage ?? 0, of?.limit, of?.peak ?? 0, of?.failures ?? 0),
    swap: entry(of?.swap?.usage ?? 0, of?.swap?.limit),
    kernel: entry(of?.kernel ?? 0, undefined),
    kernelTCP: entry(0, undefined),
    raw: of?.raw ?? {},
  };
}

function blkio({ blockIO }: CgroupStats): Json {
  const entries = (pick: 'bytes' | 'operations'): Json =>
    (blockIO ?? []).map(({ major, minor, operation: op, ...of }) => ({ major, minor, op, value: of[pick] }));
  return { ioServiceBytesRecursive: entries('bytes'), ioServicedRecursive: entries('operations') };
}

/** Whether the kernel killed something in a cgroup for want of memory, and how much there was. */
import { directoryOf, type CgroupPlace } from './cgroup.ts';
import { readAmount, readTable } from './files.ts';
import { holderOf } from './hierarchies.ts';
import type { MemoryReport } from '../runtime.ts';

/** The file with a line `oom_kill N`; undefined where no hierarchy has memory. */
export function oomFileOf(place: CgroupPlace): string | undefined {
  const holder = holderOf(place, 'memory');
  if (holder === undefined) return undefined;
  return `${directoryOf(holder)}/${holder.version === 1 ? 'memory.oom_control' : 'memory.events'}`;
}

/** undefined where no hierarchy has memory, or the cgroup is gone. */
export function memoryReport(place: CgroupPlace): MemoryReport | undefined {
  const holder = holderOf(place, 'memory');
  if (holder === undefined) return undefined;
  const directory = directoryOf(holder);
  const events = readTable(oomFileOf(place) ?? '');
  if (events.size === 0) return undefined;
  const [limit, peak] =
    holder.version === 1
      ? ['memory.limit_in_bytes', 'memory.max_usage_in_bytes']
      : ['memory.max', 'memory.peak'];
  return {
    kills: events.get('oom_kill') ?? 0,
    limit: readAmount(`${directory}/${limit}`),
    peak: readAmount(`${directory}/${peak}`),
  };
}

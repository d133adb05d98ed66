/** `stats`: what containers use. Columns and arithmetic: docker/cli, formatter_stats.go and stats_helpers.go. */
import type { CgroupStats } from '../../runtime/cgroups/stats.ts';
import type { ListView } from '../format/rows.ts';
import type { Struct } from '../format/values.ts';
import { binarySize, decimalSize } from './words.ts';

export const STATS_LIST: ListView = {
  headings: {
    BlockIO: 'BLOCK I/O',
    CPUPerc: 'CPU %',
    Container: 'CONTAINER',
    ID: 'CONTAINER ID',
    MemPerc: 'MEM %',
    MemUsage: 'MEM USAGE / LIMIT',
    Name: 'NAME',
    NetIO: 'NET I/O',
    PIDs: 'PIDS',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}',
};

export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

export interface StatsSample {
  /** undefined: it does not run. */
  readonly stats: CgroupStats | undefined;
  readonly traffic: Traffic;
  readonly atMs: number;
}

export interface StatsOf {
  readonly id: string;
  readonly name: string;
  readonly before: StatsSample;
  readonly now: StatsSample;
  /** Bytes of the machine. */
  readonly memory: number;
}

export function statsRow({ id, name, before, now, memory }: StatsOf): Struct {
  const { stats } = now;
  const used = Math.max(0, (stats?.memory?.usage ?? 0) - (stats?.memory?.inactiveFile ?? 0));
  const limit = Math.min(stats?.memory?.limit ?? memory, memory);
  const isGone = stats === undefined;
  return {
    BlockIO: isGone
      ? '0B / 0B'
      : `${decimalSize(blockBytes(stats, 'Read'))} / ${decimalSize(blockBytes(stats, 'Write'))}`,
    CPUPerc: `${cpuPercent(before, now).toFixed(2)}%`,
    Container: id,
    ID: id,
    MemPerc: `${(isGone || limit === 0 ? 0 : (used / limit) * 100).toFixed(2)}%`,
    MemUsage: isGone ? '0B / 0B' : `${binarySize(used)} / ${binarySize(limit)}`,
    Name: name,
    NetIO: `${decimalSize(now.traffic.received)} / ${decimalSize(now.traffic.sent)}`,
    PIDs: String(stats?.pids?.current ?? 0),
  };
}

/** 100 for one processor. */
function cpuPercent(before: StatsSample, now: StatsSample): number {
  const elapsedNs = (now.atMs - before.atMs) * 1e6;
  const used = (now.stats?.cpu?.usage ?? 0) - (before.stats?.cpu?.usage ?? 0);
  return elapsedNs <= 0 || used < 0 ? 0 : (used / elapsedNs) * 100;
}

function blockBytes(stats: CgroupStats, operation: 'Read' | 'Write'): number {
  return (stats.blockIO ?? [])
    .filter((each) => each.operation === operation)
    .reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Sums all interfaces but the loopback. Source: proc(5), /proc/net/dev. */
export function parseTraffic(text: string): Traffic {
  let [received, sent] = [0, 0];
  for (const line of text.split('\n')) {
    const [name = '', numbers = ''] = line.split(':');
    if (name.trim() === 'lo' || numbers === '') continue;
    const fields = numbers.trim().split(/\s+/).map(Number);
    received += fields[0] ?? 0;
    sent += fields[8] ?? 0;
  }
  return { received, sent };
}

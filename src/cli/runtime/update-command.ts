/** update: new limits for a container that exists, from options or a document. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { updateCgroup } from '../../runtime/cgroups/driver.ts';
import type { Resources } from '../../runtime/cgroups/resources.ts';
import { withUsualDevices } from '../../runtime/oci/cgroup-document.ts';
import { parseFields } from '../../runtime/oci/fields.ts';
import { parseResources } from '../../runtime/oci/resources-document.ts';
import type { Arguments } from './arguments.ts';
import { containerId, flag, option, type Command } from './command.ts';

export const UPDATE: Command = {
  name: 'update',
  usage: '[OPTION]... CONTAINER',
  summary: 'change the limits of a container',
  options: [
    option('resources', 'document (JSON) with limits, - for standard input', 'r'),
    option('blkio-weight', 'block I/O weight, 10 to 1000'),
    option('cpu-period', 'microseconds'),
    option('cpu-quota', 'microseconds in each period'),
    option('cpu-burst', 'microseconds on top of the quota'),
    option('cpu-share', 'weight'),
    option('cpu-shares', 'weight'),
    option('cpu-idle', '1: only when nobody else wants to'),
    option('cpu-rt-period', 'microseconds'),
    option('cpu-rt-runtime', 'microseconds in each period'),
    option('cpuset-cpus', 'e.g. 0-3,7'),
    option('cpuset-mems', 'e.g. 0'),
    option('kernel-memory', 'ignored: the kernel has it no more'),
    option('kernel-memory-tcp', 'bytes'),
    option('memory', 'bytes; -1: no limit'),
    option('memory-reservation', 'bytes'),
    option('memory-swap', 'bytes, memory and swap together; -1: no limit'),
    option('pids-limit', 'number of processes'),
    option('l3-cache-schema', 'not supported'),
    option('mem-bw-schema', 'not supported'),
    flag('force', 'ignored'),
  ],
  async run(args, { context: { store }, cwd }) {
    const record = store.read(containerId(args));
    if (record.cgroup === undefined) throw new TsbuildError('CGROUP_FAILED', 'the container has no cgroup');
    if (store.statusOf(record) === 'stopped')
      throw new TsbuildError('CONTAINER_NOT_RUNNING', 'cannot update a container that has stopped');
    await updateCgroup(record.cgroup, withUsualDevices(resourcesOf(args, cwd)));
    return 0;
  },
};

function resourcesOf(args: Arguments, cwd: string): Resources {
  const file = args.text('resources');
  if (file === undefined) return fromOptions(args);
  const text = readFileSync(file === '-' ? 0 : resolve(cwd, file), 'utf8');
  return parseResources(parseFields(text, file));
}

function fromOptions(args: Arguments): Resources {
  const cpu: Record<string, number | string> = {};
  const memory: Record<string, number> = {};
  const take = (to: Record<string, number | string>, name: string, key: string): void => {
    const number = args.number(name);
    if (number !== undefined) to[key] = number;
  };
  take(cpu, 'cpu-period', 'period');
  take(cpu, 'cpu-quota', 'quota');
  take(cpu, 'cpu-burst', 'burst');
  take(cpu, 'cpu-share', 'shares');
  take(cpu, 'cpu-shares', 'shares');
  take(cpu, 'cpu-idle', 'idle');
  take(cpu, 'cpu-rt-period', 'realtimePeriod');
  take(cpu, 'cpu-rt-runtime', 'realtimeRuntime');
  const [cpus, mems] = [args.text('cpuset-cpus'), args.text('cpuset-mems')];
  if (cpus !== undefined) cpu['cpus'] = cpus;
  if (mems !== undefined) cpu['mems'] = mems;
  takeBytes(args, memory, 'memory', 'limit');
  takeBytes(args, memory, 'memory-reservation', 'reservation');
  takeBytes(args, memory, 'memory-swap', 'swap');
  takeBytes(args, memory, 'kernel-memory-tcp', 'kernelTCP');
  // why: v1 allows no limit for memory that is above the one for memory and swap together.
  if (memory['limit'] === -1 && memory['swap'] === undefined) memory['swap'] = -1;
  const [pids, weight] = [args.number('pids-limit'), args.number('blkio-weight')];
  return {
    cpu: cpu,
    memory: memory,
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...(weight === undefined || weight === 0 ? {} : { blockIO: { weight } }),
  };
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30 };

/** `-1`, `67108864`, `64m`. */
function takeBytes(args: Arguments, to: Record<string, number>, name: string, key: string): void {
  const text = args.text(name);
  if (text === undefined || text === '') return;
  const match = /^(-?\d+(?:\.\d+)?)\s*([bkmg]?)(?:i?b)?$/i.exec(text);
  if (match === null) throw new TsbuildError('USAGE', `invalid value for ${name}: ${JSON.stringify(text)}`);
  to[key] = Math.floor(Number(match[1]) * (FACTORS[(match[2] ?? '').toLowerCase()] ?? 1));
}

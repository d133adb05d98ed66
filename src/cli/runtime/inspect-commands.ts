/** list, ps, events, spec, features. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsbuildError } from '../../base/errors.ts';
import { processesOf } from '../../runtime/cgroups/members.ts';
import { memoryReport } from '../../runtime/cgroups/oom.ts';
import { defaultConfig } from '../../runtime/oci/default-config.ts';
import { statsEvent } from '../../runtime/oci/events.ts';
import { features } from '../../runtime/oci/features.ts';
import { stateOf } from '../../runtime/oci/lifecycle.ts';
import type { ContainerRecord } from '../../runtime/oci/record.ts';
import { isAlive } from '../../runtime/oci/store.ts';
import { containerId, flag, option, type Command } from './command.ts';

export const LIST: Command = {
  name: 'list',
  usage: '',
  summary: 'list containers',
  options: [option('format', 'table or json', 'f'), flag('quiet', 'ids alone', 'q')],
  run(args, { context: { store }, print }) {
    const records = store.list();
    if (args.has('quiet')) {
      for (const { id } of records) print(`${id}\n`);
      return 0;
    }
    const format = args.text('format') ?? 'table';
    if (format === 'json') {
      print(`${JSON.stringify(records.map((record) => stateOf(record, store.statusOf(record))))}\n`);
      return 0;
    }
    if (format !== 'table') throw new TsbuildError('USAGE', 'invalid format option');
    const rows = records.map((record) => {
      const status = store.statusOf(record);
      const pid = status === 'stopped' ? 0 : record.pid;
      return [record.id, `${pid}`, status, record.bundle, record.created, record.owner || 'root'];
    });
    print(table([['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'], ...rows]));
    return 0;
  },
};

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd((widths[column] ?? 0) + 3))
          .join('')
          .trimEnd()}\n`,
    )
    .join('');
}

export const PS: Command = {
  name: 'ps',
  usage: 'CONTAINER [PS-OPTION…]',
  summary: 'list the processes of a container',
  stop: true,
  options: [option('format', 'table or json', 'f')],
  run(args, { context: { store }, print }) {
    const [id = '', ...psOptions] = args.words;
    const record = store.read(containerId({ ...args, words: [id] }));
    const pids = pidsOf(record);
    const format = args.text('format') ?? 'table';
    if (format === 'json') {
      print(`${JSON.stringify(pids)}\n`);
      return 0;
    }
    if (format !== 'table') throw new TsbuildError('USAGE', 'invalid format option');
    const { stdout, status, stderr } = spawnSync('ps', psOptions.length > 0 ? psOptions : ['-ef'], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new TsbuildError('USAGE', stderr);
    const [head = '', ...lines] = stdout.split('\n');
    const column = head.trim().split(/\s+/).indexOf('PID');
    if (column < 0) throw new TsbuildError('USAGE', "couldn't find PID field in ps output");
    const isOurs = (line: string): boolean => pids.includes(Number(line.trim().split(/\s+/)[column]));
    print(`${[head, ...lines.filter(isOurs)].join('\n')}\n`);
    return 0;
  },
};

function pidsOf(record: ContainerRecord): readonly number[] {
  if (record.cgroup !== undefined) return processesOf(record.cgroup);
  return isAlive(record) ? [record.pid] : [];
}

export const EVENTS: Command = {
  name: 'events',
  usage: 'CONTAINER',
  summary: 'print statistics and out-of-memory events as JSON lines',
  options: [flag('stats', 'statistics once, then end'), option('interval', 'between statistics, e.g. 5s')],
  async run(args, { context: { store }, print }) {
    const record = store.read(containerId(args));
    const { id, cgroup } = record;
    const interval = intervalMs(args.text('interval') ?? '5s');
    if (store.statusOf(record) === 'stopped')
      throw new TsbuildError('CONTAINER_NOT_RUNNING', `container with id ${id} is not running`);
    if (cgroup === undefined) throw new TsbuildError('CGROUP_FAILED', 'the container has no cgroup');
    if (args.has('stats')) {
      print(`${JSON.stringify(statsEvent(id, cgroup))}\n`);
      return 0;
    }
    const poll = Math.min(interval, 100);
    let kills = memoryReport(cgroup)?.kills ?? 0;
    for (let waited = interval; isAlive(record); waited += poll) {
      const now = memoryReport(cgroup)?.kills ?? kills;
      if (now > kills) print(`${JSON.stringify({ type: 'oom', id })}\n`);
      kills = now;
      if (waited >= interval) {
        print(`${JSON.stringify(statsEvent(id, cgroup))}\n`);
        waited = 0;
      }
      await sleep(poll);
    }
    return 0;
  },
};

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `100ms`, `5s`, `1m30s`. Throws USAGE for what is not positive. */
function intervalMs(text: string): number {
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
    total += Number(number) * (UNITS[unit ?? ''] ?? 0);
  if (total > 0 && /^(\d+(?:\.\d+)?(ms|s|m|h))+$/.test(text)) return total;
  throw new TsbuildError('USAGE', 'duration interval must be greater than 0');
}

export const SPEC: Command = {
  name: 'spec',
  usage: '',
  summary: 'write a config.json to begin with',
  options: [option('bundle', 'directory to write it to', 'b'), flag('rootless', 'for an unprivileged user')],
  run(args, { cwd, context }) {
    const path = join(resolve(cwd, args.text('bundle') ?? '.'), 'config.json');
    if (existsSync(path)) throw new TsbuildError('USAGE', `File ${path} exists. Remove it first`);
    const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const config = defaultConfig(context.machine.cgroup2, args.has('rootless') ? user : undefined);
    writeFileSync(path, `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o666 });
    return 0;
  },
};

export const FEATURES: Command = {
  name: 'features',
  usage: '',
  summary: 'print what this runtime can do as JSON',
  options: [],
  run(_args, { print, version }) {
    print(`${JSON.stringify(features(version), null, 4)}\n`);
    return 0;
  },
};

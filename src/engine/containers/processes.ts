/** The processes of a running container, as the host's ps(1) would show them. Source: proc(5), ps(1) `-f`. */
import { readFileSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import { processesOf } from '../../runtime/cgroups/members.ts';
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import { shortID, type StoredContainer } from '../../runtime/container.ts';

/** Pids in the host's pid namespace. Throws CONTAINER_NOT_RUNNING. */
export function containerPids({ id, state }: StoredContainer): readonly number[] {
  if (state.process === undefined)
    throw new TsbuildError('CONTAINER_NOT_RUNNING', `container ${shortID(id)} is not running`);
  const { pid } = state.process;
  const place = placeOfProcess(pid);
  const members = place === undefined ? [] : processesOf(place);
  return [...new Set([pid, ...members])].filter((each) => each > 0).sort((a, b) => a - b);
}

export const PROCESS_COLUMNS = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'];
const TICKS_PER_S = 100;

/** One row per process that still is there. `nowMs` tells how long ago it began. */
export function processRows(pids: readonly number[], nowMs: number): readonly (readonly string[])[] {
  const uptime = Number.parseFloat(readFileSync('/proc/uptime', 'utf8'));
  const users = hostUsers();
  return pids.flatMap((pid) => processRow(pid, { nowMs, uptime, users }) ?? []).map((row) => row);
}

interface Facts {
  readonly nowMs: number;
  /** Seconds. */
  readonly uptime: number;
  readonly users: ReadonlyMap<string, string>;
}

function processRow(pid: number, { nowMs, uptime, users }: Facts): [readonly string[]] | undefined {
  let [stat, status, commandLine]: string[] = [];
  try {
    [stat, status, commandLine] = ['stat', 'status', 'cmdline'].map((name) =>
      readFileSync(`/proc/${pid}/${name}`, 'utf8'),
    );
  } catch {
    return undefined;
  }
  const close = stat?.lastIndexOf(')') ?? 0;
  const name = stat?.slice(stat.indexOf('(') + 1, close) ?? '';
  // From field 3 on.
  const fields = stat?.slice(close + 2).split(' ') ?? [];
  const [cpu, start] = [Number(fields[11]) + Number(fields[12]), Number(fields[19])].map(
    (ticks) => ticks / TICKS_PER_S,
  );
  const uid = /^Uid:\s+(\d+)/m.exec(status ?? '')?.[1] ?? '0';
  const began = uptime - (start ?? 0);
  const command = (commandLine ?? '').replace(/\0+$/, '').replaceAll('\0', ' ');
  return [
    [
      users.get(uid) ?? uid,
      String(pid),
      fields[1] ?? '0',
      String(began <= 0 ? 0 : Math.floor(((cpu ?? 0) / began) * 100)),
      startText(nowMs - began * 1000, nowMs),
      terminalName(Number(fields[4])),
      timeText(cpu ?? 0),
      command === '' ? `[${name}]` : command,
    ],
  ];
}

/** `15:04` of today, `Jan02` of other days; UTC. */
function startText(startMs: number, nowMs: number): string {
  const start = new Date(startMs).toISOString();
  if (start.slice(0, 10) === new Date(nowMs).toISOString().slice(0, 10)) return start.slice(11, 16);
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  return `${month[Number(start.slice(5, 7)) - 1] ?? ''}${start.slice(8, 10)}`;
}

function timeText(seconds: number): string {
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** Major 136 and up are ptys (admin-guide/devices.txt). */
function terminalName(device: number): string {
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  return major >= 136 && major <= 143 ? `pts/${(major - 136) * 256 + minor}` : '?';
}

function hostUsers(): ReadonlyMap<string, string> {
  try {
    const lines = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
    return new Map(lines.map(([name = '', , uid = '']) => [uid, name]));
  } catch {
    return new Map();
  }
}

/** `--pid --ipc --uts --cgroupns --userns --time-offset`. Source: docker/cli, container/opts.go; podman-run(1) for userns. */
import type {
  ClockOffset,
  NamespaceChoice,
  NamespaceOptions,
  UserNamespaceChoice,
} from '../../../runtime/container-options.ts';
import { badFlag } from './bad-flag.ts';
import { splitPair } from './fields.ts';
import { parseDuration, parseInteger } from './numbers.ts';

export interface NamespaceFlags {
  readonly pid: string | undefined;
  readonly ipc: string | undefined;
  readonly uts: string | undefined;
  readonly cgroupns: string | undefined;
  readonly userns: string | undefined;
  readonly timeOffsets: readonly string[];
}

/** Throws USAGE. */
export function parseNamespaces(flags: NamespaceFlags): NamespaceOptions {
  const pid = choice('--pid', 'invalid PID mode', flags.pid, true);
  const uts = choice('--uts', 'invalid UTS mode', flags.uts, true);
  const cgroup = choice('--cgroupns', 'invalid CGROUP mode', flags.cgroupns, true);
  const ipc = parseIpc(flags.ipc);
  const user = parseUser(flags.userns);
  const timeOffsets = parseTimeOffsets(flags.timeOffsets);
  return {
    ...(pid === undefined ? {} : { pid }),
    ...(uts === undefined ? {} : { uts }),
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(ipc === undefined ? {} : { ipc }),
    ...(user === undefined ? {} : { user }),
    ...(timeOffsets === undefined ? {} : { timeOffsets }),
  };
}

function choice(
  flag: string,
  message: string,
  value: string | undefined,
  join: boolean,
): NamespaceChoice | undefined {
  if (value === undefined || value === '') return undefined;
  if (value === 'host' || value === 'private') return { kind: value };
  const container = value.startsWith('container:') ? value.slice('container:'.length) : '';
  if (container !== '' && join) return { kind: 'container', container };
  throw badFlag(flag, value, message, 'use host, private or container:NAME');
}

function parseIpc(value: string | undefined): NamespaceOptions['ipc'] {
  if (value === 'none' || value === 'shareable') return { kind: value };
  return choice('--ipc', `invalid IPC mode: ${value ?? ''}`, value, true);
}

function parseUser(value: string | undefined): UserNamespaceChoice | undefined {
  if (value === undefined || value === '') return undefined;
  const [kind = '', rest = ''] = value.split(/:(.*)/s, 2);
  const fail = (): never => {
    throw badFlag(
      '--userns',
      value,
      'invalid USER mode',
      'use host, auto[:size=N], nomap or keep-id[:uid=N,gid=N]',
    );
  };
  const given = new Map(rest === '' ? [] : rest.split(',').map(splitPair));
  const number = (key: string): number | undefined => {
    const text = given.get(key);
    given.delete(key);
    return text === undefined ? undefined : (parseInteger(text, { signed: false }) ?? fail());
  };
  const result = userChoice(kind, number);
  return result === undefined || given.size > 0 ? fail() : result;
}

function userChoice(
  kind: string,
  number: (key: string) => number | undefined,
): UserNamespaceChoice | undefined {
  switch (kind) {
    case 'host':
    case 'nomap':
      return { kind };
    case 'private':
    case 'auto': {
      const size = number('size');
      return { kind: 'auto', ...(size === undefined ? {} : { size }) };
    }
    case 'keep-id': {
      const [uid, gid] = [number('uid'), number('gid')];
      return { kind, ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
    }
    default:
      return undefined;
  }
}

const NS_PER_S = 1e9;

/** `monotonic=86400,boottime=-1h30m`: seconds, or a duration. */
function parseTimeOffsets(values: readonly string[]): NamespaceOptions['timeOffsets'] {
  if (values.length === 0) return undefined;
  const offsets: { monotonic?: ClockOffset; boottime?: ClockOffset } = {};
  for (const text of values.flatMap((value) => value.split(','))) {
    const [clock, value = ''] = splitPair(text);
    const nanoseconds = parseDuration(/^[+-]?\d{1,9}(?:\.\d+)?$/.test(value) ? `${value}s` : value);
    if ((clock !== 'monotonic' && clock !== 'boottime') || nanoseconds === undefined)
      throw badFlag(
        '--time-offset',
        text,
        'invalid offset of a clock',
        'write monotonic=SECONDS or boottime=SECONDS',
      );
    const seconds = Math.floor(nanoseconds / NS_PER_S);
    offsets[clock] = { seconds, nanoseconds: nanoseconds - seconds * NS_PER_S };
  }
  return offsets;
}

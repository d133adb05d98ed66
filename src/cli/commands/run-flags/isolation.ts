/** All flags that isolate, into one value. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CgroupDriver } from '../../../runtime/cgroups/driver.ts';
import type { IsolationOptions } from '../../../runtime/container-options.ts';
import type { ParsedFlags } from '../../flags.ts';
import { badFlag } from './bad-flag.ts';
import { parseDevice, parseDeviceRule } from './device.ts';
import type { ReadFile } from './environment.ts';
import { parseLimits } from './limits.ts';
import { parseMount } from './mount.ts';
import { parseNamespaces } from './namespaces.ts';
import { parseInteger } from './numbers.ts';
import { parseSecurity } from './security.ts';
import { parseTmpfs } from './tmpfs.ts';
import { parseShmSize, parseSysctls, parseUlimit } from './ulimit.ts';
import { parseVolume, parseVolumesFrom } from './volume.ts';

/** A file that a flag names must not be larger. */
const MAX_FILE = 4 << 20;

/** Reads a small file of the user's, relative to `cwd`. */
export function fileReader(cwd: string): ReadFile {
  return (path) => {
    const at = resolve(cwd, path);
    const { size } = statSync(at);
    if (size > MAX_FILE) throw new RangeError(`it has ${size} bytes; at most ${MAX_FILE} are read`);
    return readFileSync(at, 'utf8');
  };
}

export interface IsolationPlace {
  readonly cwd: string;
  /** Processors of the machine. */
  readonly cpus: number;
  readonly cgroupDriver?: CgroupDriver | undefined;
}

/** Throws USAGE. */
export function readIsolation(
  flags: ParsedFlags,
  { cwd, cpus, cgroupDriver }: IsolationPlace,
): IsolationOptions {
  const onHost = (path: string): string => resolve(cwd, path);
  const shmSize = parseShmSize(flags.text('shm-size'));
  const oomScoreAdj = readScore(flags.text('oom-score-adj'));
  const hostname = readHostname(flags.text('hostname'));
  const [domainname, cgroupParent] = [flags.text('domainname'), flags.text('cgroup-parent')];
  return {
    mounts: [
      ...flags.list('volume').map((each) => parseVolume(each, onHost)),
      ...flags.list('mount').map((each) => parseMount(each, onHost)),
      ...flags.list('tmpfs').map(parseTmpfs),
    ],
    volumesFrom: flags.list('volumes-from').map(parseVolumesFrom),
    namespaces: parseNamespaces({
      pid: flags.text('pid'),
      ipc: flags.text('ipc'),
      uts: flags.text('uts'),
      cgroupns: flags.text('cgroupns'),
      userns: flags.text('userns'),
      timeOffsets: flags.list('time-offset'),
    }),
    security: parseSecurity(
      {
        options: flags.list('security-opt'),
        capAdd: flags.list('cap-add'),
        capDrop: flags.list('cap-drop'),
        privileged: flags.boolean('privileged'),
      },
      fileReader(cwd),
    ),
    devices: flags.list('device').map(parseDevice),
    deviceRules: flags.list('device-cgroup-rule').map(parseDeviceRule),
    readonlyRoot: flags.boolean('read-only'),
    rlimits: flags.list('ulimit').map(parseUlimit),
    sysctls: parseSysctls(flags.list('sysctl')),
    groups: flags.list('group-add'),
    limits: parseLimits(flags, cpus),
    ...(shmSize === undefined ? {} : { shmSize }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(domainname === undefined ? {} : { domainname }),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    ...(cgroupDriver === undefined ? {} : { cgroupDriver }),
  };
}

function readScore(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const score = parseInteger(text, { signed: true });
  if (score === undefined || score < -1000 || score > 1000)
    throw badFlag('--oom-score-adj', text, `Invalid value ${text}, range for oom score adj is [-1000, 1000]`);
  return score;
}

/** As sethostname(2) takes it, and /etc/hosts. */
function readHostname(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.length > 64 || !/^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/.test(text))
    throw badFlag('-h, --hostname', text, 'invalid hostname', 'use at most 64 letters, digits, "-" and "."');
  return text;
}

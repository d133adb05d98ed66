/** `tsbuild doctor`: what this machine gives, what is missing, and what to do about it. Changes nothing. */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { locateNative, type NativePart } from '../../native/locate.ts';
import { chooseDriver, otherDrivers } from '../../snapshotter/choice.ts';
import { formatBytes } from '../base/format-bytes.ts';
import type { Host } from '../base/host.ts';
import type { Hierarchies } from '../runtime/cgroups/hierarchies.ts';
import { readHierarchies } from '../runtime/cgroups/read-hierarchies.ts';

export interface Finding {
  readonly subject: string;
  /** `limited`: builds and containers work, something does not. */
  readonly state: 'ok' | 'limited' | 'missing';
  readonly detail: string;
  readonly hint?: string;
}

export interface DoctorOptions {
  readonly root: string;
  readonly host: Host;
  readonly uid: number;
  /** `uname -r`. */
  readonly kernel: string;
  readonly architecture: string;
  /** Directories of programs. */
  readonly path: readonly string[];
}

/** Oldest kernel that everything was tried with. */
const KERNEL = [6, 8] as const;
const NATIVE: readonly NativePart[] = ['tsbuild-launch', 'tsbuild-tree', 'tsbuild-runtime', 'libtsbsys.so'];
const CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids', 'io'] as const;
/** What v1 calls a controller that v2 has under another name. */
const OLD_NAMES: Readonly<Record<string, string>> = { io: 'blkio' };

/** Never throws: what cannot be found out is a finding. */
export async function examineMachine(options: DoctorOptions): Promise<readonly Finding[]> {
  const { root, uid, kernel, architecture, path } = options;
  return [
    uid === 0
      ? { subject: 'rights', state: 'ok', detail: 'root' }
      : {
          ...{ subject: 'rights', state: 'missing', detail: `user ${uid}` },
          hint: 'run it as root, e.g. with sudo',
        },
    kernelFinding(kernel, architecture),
    nativeFinding(),
    rootFinding(root),
    await driverFinding(options),
    cgroupFinding(tryTo(readHierarchies)),
    fileFinding(
      'seccomp',
      '/proc/sys/kernel/seccomp/actions_avail',
      'steps and containers run without a filter',
    ),
    namespaceFinding(readNumber('/proc/sys/user/max_user_namespaces')),
    forwardingFinding(readNumber('/proc/sys/net/ipv4/ip_forward')),
    emulationFinding(),
    gitFinding(path),
  ];
}

export function kernelFinding(release: string, architecture: string): Finding {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const [wantedMajor, wantedMinor] = KERNEL;
  const isNew =
    Number(major) > wantedMajor || (Number(major) === wantedMajor && Number(minor) >= wantedMinor);
  const detail = `Linux ${release}, ${architecture}`;
  if (isNew) return { subject: 'kernel', state: 'ok', detail };
  return {
    ...{ subject: 'kernel', state: 'limited', detail },
    hint: `use Linux ${wantedMajor}.${wantedMinor} or later: older ones were not tried`,
  };
}

function nativeFinding(): Finding {
  const missing = NATIVE.filter((part) => tryTo(() => locateNative(part)) === undefined);
  const [some] = NATIVE;
  if (missing.length === 0 && some !== undefined)
    return { subject: 'native programs', state: 'ok', detail: dirname(locateNative(some)) };
  return {
    ...{ subject: 'native programs', state: 'missing', detail: missing.join(', ') },
    hint: 'run "npm run build" in the tsbuild package; it needs make and a C compiler',
  };
}

function rootFinding(root: string): Finding {
  let place = root;
  while (!existsSync(place)) place = dirname(place);
  try {
    accessSync(place, constants.W_OK);
    const { bavail, bsize, blocks } = statfsSync(place);
    const free = `${root}: ${formatBytes(bavail * bsize)} of ${formatBytes(blocks * bsize)} free`;
    return { subject: 'state root', state: 'ok', detail: free };
  } catch (error) {
    return {
      ...{ subject: 'state root', state: 'missing', detail: reasonOf(error) },
      hint: 'name a directory that can be written with --root',
    };
  }
}

async function driverFinding({ root, host, uid }: DoctorOptions): Promise<Finding> {
  const subject = 'storage driver';
  if (uid !== 0) return { subject, state: 'limited', detail: 'only root can try what the kernel mounts' };
  try {
    const at = { root: join(root, 'snapshots'), host };
    const { driver, reasons } = await chooseDriver(at, true);
    const others = otherDrivers(at, driver);
    const detail = `${[driver, ...reasons].join(': ')}${others.length === 0 ? '' : `; --storage-driver: ${others.join(', ')}`}`;
    if (driver !== 'copy') return { subject, state: 'ok', detail };
    return {
      subject,
      state: 'limited',
      detail,
      hint: 'put the state root on another file system, e.g. ext4',
    };
  } catch (error) {
    return { subject, state: 'missing', detail: reasonOf(error) };
  }
}

export function cgroupFinding(hierarchies: Hierarchies | undefined): Finding {
  const subject = 'cgroups';
  const { v1 = [], unified } = hierarchies ?? {};
  if (v1.length === 0 && unified === undefined)
    return {
      subject,
      state: 'limited',
      detail: 'none are mounted',
      hint: 'mount /sys/fs/cgroup: limits need it',
    };
  const version = unified === undefined ? 'v1' : v1.length === 0 ? 'v2' : 'v1 and v2 (hybrid)';
  const all = [...v1, ...(unified === undefined ? [] : [unified])].flatMap(({ controllers }) => controllers);
  const lacking = CONTROLLERS.filter((name) => !all.includes(name) && !all.includes(OLD_NAMES[name] ?? name));
  if (lacking.length === 0) return { subject, state: 'ok', detail: `${version}: ${CONTROLLERS.join(', ')}` };
  return {
    ...{ subject, state: 'limited', detail: `${version}, without ${lacking.join(', ')}` },
    hint: 'limits of these are refused; switch the controllers on in the parent cgroup',
  };
}

function fileFinding(subject: string, path: string, otherwise: string): Finding {
  return existsSync(path)
    ? { subject, state: 'ok', detail: 'the kernel has it' }
    : { subject, state: 'limited', detail: `there is no ${path}`, hint: otherwise };
}

function namespaceFinding(most: number | undefined): Finding {
  const subject = 'user namespaces';
  if (most !== undefined && most > 0) return { subject, state: 'ok', detail: `up to ${most}` };
  return {
    ...{ subject, state: 'limited', detail: 'the kernel allows none' },
    hint: 'set the sysctl user.max_user_namespaces for run --userns',
  };
}

function forwardingFinding(value: number | undefined): Finding {
  const subject = 'forwarding';
  if (value === undefined) return { subject, state: 'limited', detail: 'the kernel has no IPv4' };
  return {
    ...{ subject, state: 'ok' },
    detail: value === 1 ? 'on' : 'off: switched on with the first network of containers',
  };
}

function emulationFinding(): Finding {
  const names = tryTo(() => readdirSync('/proc/sys/fs/binfmt_misc')) ?? [];
  const emulated = names.filter((name) => name.startsWith('qemu-')).map((name) => name.slice('qemu-'.length));
  const detail = emulated.length === 0 ? 'of no other architecture' : emulated.sort().join(', ');
  return { subject: 'emulation', state: 'ok', detail };
}

function gitFinding(path: readonly string[]): Finding {
  const place = path.map((directory) => join(directory, 'git')).find((each) => existsSync(each));
  if (place !== undefined) return { subject: 'git', state: 'ok', detail: place };
  return {
    ...{ subject: 'git', state: 'limited', detail: 'not found' },
    hint: 'install it for contexts and ADD of repositories',
  };
}

function readNumber(path: string): number | undefined {
  const text = tryTo(() => readFileSync(path, 'utf8'));
  return text === undefined ? undefined : Number(text.trim());
}

function tryTo<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

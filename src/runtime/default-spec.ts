/** What docker gives every container, as data: one place for RUN and `tsbuild run`. */
import type { Mount } from '../../native/mount.ts';
import type { MountStub } from '../../snapshotter/snapshotter.ts';
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from './capabilities.ts';
import type { ContainerMount, ContainerNetwork, ContainerSpec, ContainerUser, Rlimit } from './runtime.ts';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const BUILD_HOSTNAME = 'buildkitsandbox';

const MASKED = [
  ...['/proc/asound', '/proc/acpi', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware'],
  '/sys/devices/virtual/powercap',
];
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Places that must exist before anything is mounted on them. */
export const DEFAULT_STUBS: readonly MountStub[] = [
  { path: '/proc', type: 'directory' },
  { path: '/sys', type: 'directory' },
  { path: '/dev', type: 'directory' },
  { path: '/etc/hosts', type: 'file' },
  { path: '/etc/resolv.conf', type: 'file' },
  { path: '/etc/hostname', type: 'file' },
];

export interface ContainerInput {
  readonly id: string;
  readonly mounts: readonly Mount[];
  readonly args: readonly string[];
  /** HOME and PATH are added where they are missing. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: ContainerUser;
  readonly home: string;
  readonly hostname: string;
  readonly network: ContainerNetwork;
  readonly terminal: boolean;
  readonly resolvConf: string;
  /** Content of /etc/hosts; absent: made of the host name and `extraHosts`. */
  readonly hosts?: string;
  /** `name:ip`. */
  readonly extraHosts: readonly string[];
  readonly volumes?: readonly ContainerMount[];
  readonly readonlyRoot?: boolean;
  readonly privileged?: boolean;
  readonly capabilities?: readonly string[];
  readonly rlimits?: readonly Rlimit[];
  readonly shmSize?: number;
  /** No core files. */
  readonly confidential?: boolean;
}

export function createContainerSpec(input: ContainerInput): ContainerSpec {
  const privileged = input.privileged === true;
  return {
    id: input.id,
    root: { mounts: input.mounts, readonly: input.readonlyRoot === true },
    args: input.args,
    env: withDefaults(input),
    cwd: input.cwd === '' ? '/' : input.cwd,
    user: input.user,
    umask: 0o022,
    hostname: input.hostname,
    terminal: input.terminal,
    network: input.network,
    capabilities: privileged ? ALL_CAPABILITIES : (input.capabilities ?? DEFAULT_CAPABILITIES),
    noNewPrivileges: false,
    seccomp: privileged ? 'unconfined' : 'default',
    // A core file of a process that saw a secret would hold it, and lie in the layer.
    rlimits: [
      ...(input.rlimits ?? []),
      ...(input.confidential === true ? [{ type: 'RLIMIT_CORE', soft: 0, hard: 0 }] : []),
    ],
    ...(input.shmSize === undefined ? {} : { shmSize: input.shmSize }),
    mounts: [
      file('/etc/hosts', input.hosts ?? hostsFile(input)),
      file('/etc/hostname', `${input.hostname}\n`),
      ...(input.network === 'none' ? [] : [file('/etc/resolv.conf', input.resolvConf)]),
      ...(input.volumes ?? []),
    ],
    maskedPaths: privileged ? [] : MASKED,
    readonlyPaths: privileged ? [] : READONLY,
  };
}

function file(target: string, content: string): ContainerMount {
  return { kind: 'file', target, content, mode: 0o644, uid: 0, gid: 0, readonly: true };
}

function withDefaults({ env, home, terminal }: ContainerInput): readonly string[] {
  const has = (name: string): boolean => env.some((entry) => entry.startsWith(`${name}=`));
  return [
    ...(has('PATH') ? [] : [`PATH=${DEFAULT_PATH}`]),
    ...(terminal && !has('TERM') ? ['TERM=xterm'] : []),
    ...env,
    ...(has('HOME') ? [] : [`HOME=${home}`]),
  ];
}

function hostsFile({ hostname, extraHosts }: ContainerInput): string {
  const lines = [`127.0.0.1\tlocalhost ${hostname}`, '::1\tlocalhost ip6-localhost ip6-loopback'];
  for (const entry of extraHosts) {
    const at = entry.search(/[:=]/);
    lines.push(`${entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1')}\t${entry.slice(0, at)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** What docker gives every container, as data: one place for RUN and `tsbuild run`. */
import type { Mount } from '../../native/mount.ts';
import { ATTRIBUTE } from '../../native/plan-ops.ts';
import type { MountStub } from '../../snapshotter/snapshotter.ts';
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from './capabilities.ts';
import type {
  ContainerMount,
  ContainerNetwork,
  ContainerSpec,
  ContainerUser,
  DeviceNode,
  IdMaps,
  Rlimit,
} from './runtime.ts';
import { streamsOwnerOf } from './streams-owner.ts';

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

/** Of a container that is kept: what reads the table of mounts finds it. */
export const MTAB: MountStub = { path: '/etc/mtab', type: 'symlink', target: '/proc/mounts' };

export interface ContainerInput {
  readonly id: string;
  readonly mounts: readonly Mount[];
  readonly args: readonly string[];
  /** HOME and PATH are added where they are missing. */
  readonly env: readonly string[];
  /** HOSTNAME, too. */
  readonly tellsHostname?: boolean;
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
  /** -1 is unlimited. */
  readonly rlimits?: readonly Rlimit[];
  readonly shmSize?: number;
  /** No core files. */
  readonly confidential?: boolean;
  /** What a process writes to /etc/hosts and its like is seen until the container ends. */
  readonly writableFiles?: boolean;
  readonly noNewPrivileges?: boolean;
  readonly seccomp?: ContainerSpec['seccomp'];
  readonly apparmorProfile?: string;
  /** Nothing of /proc and /sys is masked or read-only. */
  readonly unmasked?: boolean;
  readonly namespaces?: ContainerSpec['namespaces'];
  readonly idMaps?: IdMaps;
  readonly timeOffsets?: ContainerSpec['timeOffsets'];
  readonly rootPropagation?: number;
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly devices?: readonly DeviceNode[];
  readonly domainname?: string;
  readonly oomScoreAdj?: number;
}

export function createContainerSpec(input: ContainerInput): ContainerSpec {
  const privileged = input.privileged === true;
  return {
    id: input.id,
    root: {
      mounts: input.mounts,
      readonly: input.readonlyRoot === true,
      ...(input.rootPropagation === undefined ? {} : { propagation: input.rootPropagation }),
      ...(input.idMaps === undefined ? {} : { idMaps: input.idMaps }),
    },
    args: input.args,
    env: withDefaults(input),
    cwd: input.cwd === '' ? '/' : input.cwd,
    user: input.user,
    umask: 0o022,
    // The name of a namespace that is not its own is not the container's to change.
    hostname: (input.namespaces?.uts ?? 'new') === 'new' ? input.hostname : '',
    terminal: input.terminal,
    ...streamsOwnerOf(input, input.idMaps, false),
    network: input.network,
    capabilities: privileged ? ALL_CAPABILITIES : (input.capabilities ?? DEFAULT_CAPABILITIES),
    noNewPrivileges: input.noNewPrivileges === true,
    seccomp: input.seccomp ?? (privileged ? 'unconfined' : 'default'),
    ...optionsOf(input),
    // A core file of a process that saw a secret would hold it, and lie in the layer.
    rlimits: [
      ...(input.rlimits ?? []).map(withInfinity),
      ...(input.confidential === true ? [{ type: 'RLIMIT_CORE', soft: 0, hard: 0 }] : []),
    ],
    ...(input.shmSize === undefined ? {} : { shmSize: input.shmSize }),
    mounts: [...(privileged ? WRITABLE_SYS : []), ...ownFiles(input), ...(input.volumes ?? [])],
    maskedPaths: privileged || input.unmasked === true ? [] : MASKED,
    readonlyPaths: privileged || input.unmasked === true ? [] : READONLY,
  };
}

type SpecOptions = Pick<
  ContainerSpec,
  | 'namespaces'
  | 'idMaps'
  | 'timeOffsets'
  | 'sysctls'
  | 'devices'
  | 'domainname'
  | 'oomScoreAdj'
  | 'apparmorProfile'
>;

/** What is handed on as it is, where it is given. */
function optionsOf(input: ContainerInput): SpecOptions {
  const { namespaces, idMaps, timeOffsets, sysctls, devices, domainname, oomScoreAdj, apparmorProfile } =
    input;
  const given = {
    namespaces,
    idMaps,
    timeOffsets,
    sysctls,
    devices,
    domainname,
    oomScoreAdj,
    apparmorProfile,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** /etc/hosts and its like, unless a volume takes their place. */
function ownFiles(input: ContainerInput): readonly ContainerMount[] {
  const taken = new Set(input.volumes?.map(({ target }) => target));
  const file = (target: string, content: string): readonly ContainerMount[] =>
    taken.has(target)
      ? []
      : [
          {
            kind: 'file',
            target,
            content,
            mode: 0o644,
            uid: 0,
            gid: 0,
            readonly: input.writableFiles !== true,
          },
        ];
  return [
    ...file('/etc/hosts', input.hosts ?? hostsFile(input)),
    ...file('/etc/hostname', `${input.hostname}\n`),
    ...(input.network === 'none' ? [] : file('/etc/resolv.conf', input.resolvConf)),
  ];
}

const WRITABLE_SYS: readonly ContainerMount[] = ['/sys', '/sys/fs/cgroup'].map((target) => ({
  ...{
    kind: 'attach',
    type: '',
    source: '',
    target,
    bind: false,
    recursive: false,
    copyUp: false,
    remount: true,
  },
  ...{ set: 0, clear: ATTRIBUTE.readonly, setBelow: 0, clearBelow: 0, propagation: 0, options: [] },
}));

/** -1, which JSON can hold, is unlimited. */
function withInfinity({ type, soft, hard }: Rlimit): Rlimit {
  const value = (limit: number): number => (limit < 0 ? Number.POSITIVE_INFINITY : limit);
  return { type, soft: value(soft), hard: value(hard) };
}

function withDefaults({ env, home, terminal, hostname, tellsHostname }: ContainerInput): readonly string[] {
  const has = (name: string): boolean => env.some((entry) => entry.startsWith(`${name}=`));
  return [
    ...(has('PATH') ? [] : [`PATH=${DEFAULT_PATH}`]),
    ...(tellsHostname === true && hostname !== '' && !has('HOSTNAME') ? [`HOSTNAME=${hostname}`] : []),
    ...(terminal && !has('TERM') ? ['TERM=xterm'] : []),
    ...env,
    ...(has('HOME') ? [] : [`HOME=${home}`]),
  ];
}

function hostsFile({ hostname, extraHosts }: ContainerInput): string {
  const lines = [`127.0.0.1\tlocalhost ${hostname}`, '::1\tlocalhost ip6-localhost ip6-loopback'];
  for (const entry of extraHosts) {
    const at = entry.search(/[:=]/);
    // Without a network of its own the way to the host is the loopback.
    lines.push(
      `${entry
        .slice(at + 1)
        .replace(/^host-gateway$/, '127.0.0.1')
        .replace(/^\[(.*)\]$/, '$1')}\t${entry.slice(0, at)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

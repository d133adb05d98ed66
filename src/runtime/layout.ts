/**
 * From a container spec to the launcher's plan: which mounts, nodes, limits and identities, and in which order.
 *
 * Order matters: what needs the host (sources of binds) comes before pivot, the filter before capabilities are
 * dropped (installing one without no_new_privs needs CAP_SYS_ADMIN), the identity last.
 */
import type { Mount } from '../../native/mount.ts';
import { constants } from 'node:os';
import { TsbuildError } from '../base/errors.ts';
import { ATTRIBUTE, NAMESPACE, type PlanOp } from '../../native/plan.ts';
import { ALL_CAPABILITIES, capabilityMask } from './capabilities.ts';
import type { ContainerMount, ContainerSpec } from './runtime.ts';
import { compileDefaultProfile, encodeProgram } from './seccomp/compile.ts';

export interface Machine {
  /** `amd64`, `arm64`. */
  readonly arch: string;
  /** Whether /sys/fs/cgroup is a single cgroup v2 hierarchy. */
  readonly cgroup2: boolean;
  /** Capabilities that this process can give away, as bits. */
  readonly bounding: bigint;
  /** An empty directory where roots are attached while they are built. */
  readonly mountPoint: string;
}

/** Bytes of /dev/shm, as docker has it. */
const DEFAULT_SHM = 64 << 20;

const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

const { readonly: RDONLY, nosuid: NOSUID, nodev: NODEV, noexec: NOEXEC } = ATTRIBUTE;

/** Throws SPEC_INVALID where the spec makes no sense. */
export function layOut(spec: ContainerSpec, machine: Machine): readonly PlanOp[] {
  const [root] = spec.root.mounts;
  if (root === undefined) throw new TsbuildError('SPEC_INVALID', 'a container needs a root file system');
  if (spec.args.length === 0) throw new TsbuildError('SPEC_INVALID', 'there is no command to run');
  return [
    { op: 'namespaces', subject: 'namespaces', flags: namespaceFlags(spec) },
    ...(typeof spec.network === 'string'
      ? []
      : [
          {
            op: 'join',
            subject: 'network',
            namespace: NAMESPACE.network,
            path: spec.network.join,
          } as const,
        ]),
    ...(spec.cgroup?.before ?? []),
    ...(spec.cgroup?.inside ?? []),
    { op: 'cgroupNamespace', subject: 'cgroup namespace' },
    ...(spec.oomScoreAdj === undefined
      ? []
      : [{ op: 'oom', subject: 'oomScoreAdj', score: spec.oomScoreAdj } as const]),
    { op: 'root', subject: 'root', mount: root, point: machine.mountPoint },
    ...kernelFileSystems(machine),
    ...devices(spec),
    ...spec.mounts.flatMap((mount, index) => mountOps(mount, `mounts[${index}]`, machine)),
    ...spec.maskedPaths.map((path) => ({ op: 'mask', subject: `maskedPaths ${path}`, path }) as const),
    ...spec.readonlyPaths.map(
      (path) => ({ op: 'readonly', subject: `readonlyPaths ${path}`, path }) as const,
    ),
    ...(spec.terminal ? [{ op: 'terminal', subject: 'terminal', uid: spec.user.uid, gid: 5 } as const] : []),
    { op: 'pivot', subject: 'root' },
    { op: 'hostname', subject: 'hostname', name: spec.hostname },
    ...(spec.network === 'none' ? [{ op: 'loopback', subject: 'network' } as const] : []),
    { op: 'cwd', subject: 'working directory', path: spec.cwd },
    ...(spec.root.readonly ? [{ op: 'rootReadonly', subject: 'root' } as const] : []),
    ...identity(spec, machine),
    { op: 'exec', subject: 'command', args: spec.args, env: spec.env, candidates: candidatesOf(spec) },
  ];
}

function namespaceFlags(spec: ContainerSpec): number {
  const always = NAMESPACE.mount | NAMESPACE.uts | NAMESPACE.ipc | NAMESPACE.pid;
  return spec.network === 'none' ? always | NAMESPACE.network : always;
}

function kernelFileSystems(machine: Machine): readonly PlanOp[] {
  const mount = (
    type: string,
    target: string,
    attributes: number,
    options: [string, string][] = [],
  ): PlanOp => ({
    op: 'mount',
    subject: `mount of ${target}`,
    type,
    target,
    attributes,
    options,
  });
  return [
    mount('proc', '/proc', NOSUID | NODEV | NOEXEC),
    mount('sysfs', '/sys', RDONLY | NOSUID | NODEV | NOEXEC),
    machine.cgroup2
      ? mount('cgroup2', '/sys/fs/cgroup', RDONLY | NOSUID | NODEV | NOEXEC)
      : mount('tmpfs', '/sys/fs/cgroup', RDONLY | NOSUID | NODEV | NOEXEC),
    mount('tmpfs', '/dev', NOSUID, [
      ['mode', '755'],
      ['size', '65536k'],
    ]),
  ];
}

function devices(spec: ContainerSpec): readonly PlanOp[] {
  const node = (name: string, major: number, minor: number): PlanOp => ({
    op: 'mknod',
    subject: `/dev/${name}`,
    path: `/dev/${name}`,
    mode: 0o020666,
    major,
    minor,
  });
  const link = (target: string, name: string): PlanOp => ({
    op: 'symlink',
    subject: `/dev/${name}`,
    target,
    path: `/dev/${name}`,
  });
  const mount = (
    type: string,
    name: string,
    attributes: number,
    options: [string, string][],
  ): readonly PlanOp[] => [
    { op: 'mkdir', subject: `/dev/${name}`, path: `/dev/${name}`, mode: 0o755 },
    { op: 'mount', subject: `mount of /dev/${name}`, type, target: `/dev/${name}`, attributes, options },
  ];
  return [
    node('null', 1, 3),
    node('zero', 1, 5),
    node('full', 1, 7),
    node('random', 1, 8),
    node('urandom', 1, 9),
    node('tty', 5, 0),
    link('/proc/self/fd', 'fd'),
    link('/proc/self/fd/0', 'stdin'),
    link('/proc/self/fd/1', 'stdout'),
    link('/proc/self/fd/2', 'stderr'),
    link('/proc/kcore', 'core'),
    link('pts/ptmx', 'ptmx'),
    ...mount('devpts', 'pts', NOSUID | NOEXEC, [
      ['newinstance', ''],
      ['ptmxmode', '0666'],
      ['mode', '0620'],
      ['gid', '5'],
    ]),
    ...mount('tmpfs', 'shm', NOSUID | NODEV | NOEXEC, [
      ['mode', '1777'],
      ['size', `${spec.shmSize ?? DEFAULT_SHM}`],
    ]),
    ...mount('mqueue', 'mqueue', NOSUID | NODEV | NOEXEC, []),
    ...(spec.terminal
      ? [
          {
            op: 'mknod',
            subject: '/dev/console',
            path: '/dev/console',
            mode: 0o100620,
            major: 0,
            minor: 0,
          } as const,
        ]
      : []),
  ];
}

function mountOps(mount: ContainerMount, subject: string, machine: Machine): readonly PlanOp[] {
  const named = `${subject} at ${JSON.stringify(mount.target)}`;
  switch (mount.kind) {
    case 'bind':
      return [
        {
          op: 'bind',
          subject: named,
          source: mount.source,
          target: mount.target,
          readonly: mount.readonly,
          recursive: mount.recursive,
        },
      ];
    case 'tmpfs':
      return [
        {
          op: 'mount',
          subject: named,
          type: 'tmpfs',
          target: mount.target,
          attributes: NOSUID | NODEV,
          options: [
            ['mode', mount.mode.toString(8)],
            ...(mount.size === undefined ? [] : [['size', `${mount.size}`] as [string, string]]),
          ],
        },
      ];
    case 'assembled': {
      const [first] = mount.mounts;
      if (first === undefined) throw new TsbuildError('SPEC_INVALID', `${named} has nothing to mount`);
      return [
        {
          op: 'assembled',
          subject: named,
          mount: mountable(first),
          point: machine.mountPoint,
          inside: mount.source,
          target: mount.target,
          readonly: mount.readonly,
        },
      ];
    }
    case 'file': {
      const { target, mode, uid, gid, content } = mount;
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      return [
        {
          op: 'file',
          subject: named,
          target,
          mode,
          uid,
          gid,
          content: bytes,
          readonly: mount.readonly,
        },
      ];
    }
  }
}

/** overlayfs refuses to show one directory alone; a bind mount shows the same. */
function mountable(mount: Mount): Mount {
  if (mount.kind !== 'overlay' || mount.upper !== undefined || mount.lower.length !== 1) return mount;
  const [source = ''] = mount.lower;
  return { kind: 'bind', source, readonly: true };
}

function identity(spec: ContainerSpec, machine: Machine): readonly PlanOp[] {
  const wanted = capabilityMask(spec.capabilities);
  // Everything means everything that there is: no process can give what it does not have.
  const bounding = wanted === capabilityMask(ALL_CAPABILITIES) ? wanted & machine.bounding : wanted;
  return [
    ...spec.rlimits.map(
      ({ type, soft, hard }) =>
        ({ op: 'rlimit', subject: `rlimit ${type}`, resource: resourceOf(type), soft, hard }) as const,
    ),
    { op: 'umask', subject: 'umask', mask: spec.umask },
    ...(spec.noNewPrivileges ? [{ op: 'noNewPrivs', subject: 'noNewPrivileges' } as const] : []),
    ...(spec.seccomp === 'default'
      ? [
          {
            op: 'seccomp',
            subject: 'seccomp',
            program: defaultFilter(spec.capabilities, machine.arch),
          } as const,
        ]
      : []),
    {
      op: 'credentials',
      subject: 'user and capabilities',
      uid: spec.user.uid,
      gid: spec.user.gid,
      groups: spec.user.additionalGids,
      bounding,
      effective: spec.user.uid === 0 ? bounding : 0n,
    },
  ];
}

function resourceOf(type: string): number {
  const number = RLIMITS[type];
  if (number === undefined) throw new TsbuildError('SPEC_INVALID', `unknown rlimit ${JSON.stringify(type)}`);
  return number;
}

const filters = new Map<string, Uint8Array>();

function defaultFilter(capabilities: readonly string[], arch: string): Uint8Array {
  const key = `${arch} ${capabilities.join(' ')}`;
  const known = filters.get(key) ?? encodeProgram(compileDefaultProfile(capabilities, arch));
  filters.set(key, known);
  return known;
}

/** Where the program may be: as execvp(3) looks for it, in the container's own PATH. */
function candidatesOf({ args, env, cwd }: ContainerSpec): readonly string[] {
  const [program = ''] = args;
  if (program.includes('/')) return [program];
  const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  return path.split(':').map((directory) => `${directory === '' ? cwd : directory}/${program}`);
}

/** `ENOENT` for 2. */
export function errnoName(number: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
}

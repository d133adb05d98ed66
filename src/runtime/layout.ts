/**
 * From a container spec to the launcher's plan: which mounts, nodes, limits and identities, and in which order.
 *
 * Order matters: what needs the host (sources of binds) comes before pivot, hooks see all mounts, what may be
 * refused comes before a start is waited for, the identity last.
 */
import type { Mount } from '../../native/mount.ts';
import { HOOK_PHASE, NAMESPACE, type PlanOp } from '../../native/plan-ops.ts';
import { TsbuildError } from '../base/errors.ts';
import { idMapText, mountOpsOf, servedTree } from './layout-mounts.ts';
import { insideOps, outsideOps, programOps, terminalOps, tuningOps } from './layout-process.ts';
import type { Machine } from './machine.ts';
import type {
  ContainerSpec,
  ExecSpec,
  IdMap,
  Hook,
  NamespaceChoice,
  NamespaceKind,
  TimeOffset,
} from './runtime.ts';

export { lateMountOps } from './layout-mounts.ts';
export { errnoName } from './layout-process.ts';
export type { Machine } from './machine.ts';

/** Throws SPEC_INVALID where the spec makes no sense. */
export function layOut(spec: ContainerSpec, machine: Machine): readonly PlanOp[] {
  const [root] = spec.root.mounts;
  if (root === undefined) throw new TsbuildError('SPEC_INVALID', 'a container needs a root file system');
  if (spec.args.length === 0) throw new TsbuildError('SPEC_INVALID', 'there is no command to run');
  return [
    ...namespaceOps(spec),
    ...outsideOps(spec),
    ...insideOps(spec),
    ...(choiceOf(spec, 'cgroup') === 'new'
      ? [{ op: 'cgroupNamespace', subject: 'cgroup namespace' } as const]
      : []),
    ...(spec.notify === undefined
      ? []
      : [{ op: 'notify', subject: 'notify socket', ...spec.notify } as const]),
    ...(spec.netDevices ?? []).map(
      ({ name, inside }) => ({ op: 'netDevice', subject: `netDevices ${name}`, name, inside }) as const,
    ),
    ...(spec.state === undefined ? [] : [{ op: 'state', subject: 'state', parts: spec.state } as const]),
    ...rootOps(spec, root, machine),
    ...mountOpsOf(spec, machine),
    ...createHooks(spec),
    ...Object.entries(spec.sysctls ?? {}).map(
      ([name, value]) =>
        ({ op: 'sysctl', subject: `sysctl ${name}`, name: sysctlPath(name), value }) as const,
    ),
    ...spec.maskedPaths.map((path) => ({ op: 'mask', subject: `maskedPaths ${path}`, path }) as const),
    ...spec.readonlyPaths.map(
      (path) => ({ op: 'readonly', subject: `readonlyPaths ${path}`, path }) as const,
    ),
    ...terminalOps(spec),
    { op: rootEntry(spec), subject: 'root' },
    ...(spec.root.ownPropagation === undefined
      ? []
      : [{ op: 'rootPropagation', subject: 'rootfsPropagation', flags: spec.root.ownPropagation } as const]),
    ...namesOps(spec),
    ...(spec.network === 'none' ? [{ op: 'loopback', subject: 'network' } as const] : []),
    ...(spec.keyring === undefined
      ? []
      : [{ op: 'keyring', subject: 'session keyring', name: spec.keyring } as const]),
    { op: 'cwd', subject: 'working directory', path: spec.cwd },
    ...(spec.root.readonly ? [{ op: 'rootReadonly', subject: 'root' } as const] : []),
    ...tuningOps(spec),
    ...startOps(spec),
    ...underInit(spec, programOps(spec, machine)),
  ];
}

/** why: pivot_root would move everybody of a mount namespace that others are in. */
function rootEntry(spec: ContainerSpec): 'pivot' | 'chroot' | 'chrootAlone' {
  if (choiceOf(spec, 'mount') !== 'new') return 'chrootAlone';
  return spec.root.pivot === false ? 'chroot' : 'pivot';
}

/** With mapped ids the parent makes it: inside the user namespace nobody may map those of the host. */
function rootOps({ root }: ContainerSpec, mount: Mount, machine: Machine): readonly PlanOp[] {
  const subject = 'root';
  const { idMaps, point } = root;
  const served = servedTree(mount, subject);
  if (served !== undefined) {
    if (idMaps !== undefined)
      throw new TsbuildError(
        'KERNEL_UNSUPPORTED',
        'fuse-overlayfs cannot show files with other ids (--userns)',
        {
          hint: 'take another --storage-driver',
        },
      );
    return [
      served,
      { op: 'root', subject, mount: { kind: 'tree', tree: 1 }, point: point ?? machine.mountPoint },
    ];
  }
  if (idMaps === undefined) return [{ op: 'root', subject, mount, point: point ?? machine.mountPoint }];
  const outside = (maps: readonly IdMap[]): number => maps.find(({ inside }) => inside === 0)?.outside ?? 0;
  return [
    { op: 'idmap', subject, ...idMapText(idMaps) },
    { op: 'rootTree', subject, mount, idmap: 1, uid: outside(idMaps.uids), gid: outside(idMaps.gids) },
    { op: 'root', subject, mount: { kind: 'tree', tree: 1 }, point: point ?? OPEN_TO_ALL },
  ];
}

/** why: who is nobody on the host may not reach our state root; in its own mount namespace any directory will do. */
const OPEN_TO_ALL = '/sys';

/** Right before the program: what decides its identity and rights is the init's, too. */
function underInit({ init }: ContainerSpec, program: readonly PlanOp[]): readonly PlanOp[] {
  if (init !== true) return program;
  return [...program.slice(0, -1), { op: 'init', subject: 'init' }, ...program.slice(-1)];
}

/** The plan of a further process in a container that runs: identity as for its first, no mounts. */
export function layOutExec(spec: ExecSpec, machine: Machine): readonly PlanOp[] {
  if (spec.args.length === 0) throw new TsbuildError('SPEC_INVALID', 'there is no command to run');
  const { pid, started, namespaces } = spec.target;
  return [
    { op: 'namespaces', subject: 'namespaces', flags: 0, here: true, survive: spec.survive === true },
    { op: 'enter', subject: 'container', pid, started, flags: namespaces },
    ...outsideOps(spec),
    ...insideOps(spec),
    ...terminalOps(spec),
    { op: 'cwd', subject: 'working directory', path: spec.cwd },
    ...tuningOps(spec),
    ...programOps(spec, machine),
  ];
}

/** The plan of changing mounts in a container that runs; no program of it is executed. */
export function layOutMounts(
  { pid, started, namespaces }: ExecSpec['target'],
  changes: readonly PlanOp[],
): readonly PlanOp[] {
  const flags = namespaces & (NAMESPACE.mount | NAMESPACE.user);
  return [
    { op: 'namespaces', subject: 'namespaces', flags: 0, here: true, survive: true },
    { op: 'enter', subject: 'container', pid, started, flags },
    ...changes,
    { op: 'leave', subject: 'mounts' },
  ];
}

const KINDS = ['mount', 'cgroup', 'uts', 'ipc', 'pid', 'network', 'user', 'time'] as const;

function choiceOf(spec: ContainerSpec, kind: NamespaceKind): NamespaceChoice {
  if (kind === 'network') return spec.network === 'none' ? 'new' : spec.network;
  return spec.namespaces?.[kind] ?? (kind === 'user' || kind === 'time' ? 'host' : 'new');
}

function namespaceOps(spec: ContainerSpec): readonly PlanOp[] {
  const ops: PlanOp[] = [];
  let flags = 0;
  for (const kind of KINDS) {
    const choice = choiceOf(spec, kind);
    // why: a cgroup namespace begins where its maker is, so it is made after the cgroup was entered.
    if (choice === 'new') flags |= kind === 'cgroup' ? 0 : NAMESPACE[kind];
    else if (choice !== 'host')
      ops.push({ op: 'join', subject: `${kind} namespace`, namespace: NAMESPACE[kind], path: choice.join });
  }
  if (spec.timeOffsets !== undefined && choiceOf(spec, 'time') === 'new')
    ops.push({ op: 'timeOffsets', subject: 'timeOffsets', text: offsetsText(spec.timeOffsets) });
  if (spec.startSocket !== undefined)
    ops.push({ op: 'startSocket', subject: 'start socket', path: spec.startSocket });
  if (spec.idMaps !== undefined && choiceOf(spec, 'user') === 'new')
    ops.push({ op: 'idMaps', subject: 'id mappings', ...idMapText(spec.idMaps) });
  return [
    {
      ...{ op: 'namespaces', subject: 'namespaces', flags: flags >>> 0, survive: spec.survive === true },
      ...(spec.root.propagation === undefined ? {} : { propagation: spec.root.propagation }),
      ...(choiceOf(spec, 'mount') === 'new' ? {} : { shared: true }),
    },
    ...ops,
  ];
}

function offsetsText(offsets: NonNullable<ContainerSpec['timeOffsets']>): string {
  const line = (clock: string, offset: TimeOffset | undefined): string =>
    offset === undefined ? '' : `${clock} ${offset.secs} ${offset.nanosecs}\n`;
  return line('monotonic', offsets.monotonic) + line('boottime', offsets.boottime);
}

function namesOps({ hostname, domainname }: ContainerSpec): readonly PlanOp[] {
  return [
    ...(hostname === '' ? [] : [{ op: 'hostname', subject: 'hostname', name: hostname } as const]),
    ...(domainname === undefined || domainname === ''
      ? []
      : [{ op: 'domainname', subject: 'domainname', name: domainname } as const]),
  ];
}

/** As sysctl(8) writes names: dots separate, a slash stands for a dot of a name. */
function sysctlPath(name: string): string {
  if (name.includes('/') && !name.includes('.')) return name;
  return name.replace(/[./]/g, (character) => (character === '.' ? '/' : '.'));
}

function hookOps(
  op: 'hook' | 'parentHook',
  phase: number,
  name: string,
  hooks: readonly Hook[],
): readonly PlanOp[] {
  return hooks.map(({ path, args, env, timeoutMs = 0 }, index) => ({
    op,
    subject: `${name} hook #${index}`,
    hook: { phase, timeoutMs, path, args: args.length === 0 ? [path] : args, env },
  }));
}

function createHooks({ hooks }: ContainerSpec): readonly PlanOp[] {
  if (hooks === undefined) return [];
  const { stdout = '', stderr = '' } = hooks.streams ?? {};
  const outside = [
    ...hookOps('parentHook', HOOK_PHASE.runtime, 'prestart', hooks.prestart),
    ...hookOps('parentHook', HOOK_PHASE.runtime, 'createRuntime', hooks.runtime),
  ];
  return [
    ...(stdout === '' && stderr === ''
      ? []
      : [{ op: 'hookStreams', subject: 'output of hooks', stdout, stderr } as const]),
    ...outside,
    ...(outside.length === 0 ? [] : [{ op: 'sync', subject: 'hooks', phase: HOOK_PHASE.runtime } as const]),
    ...hookOps('hook', HOOK_PHASE.container, 'createContainer', hooks.container),
  ];
}

function startOps({ startSocket, hooks }: ContainerSpec): readonly PlanOp[] {
  return [
    ...(startSocket === undefined
      ? []
      : [{ op: 'execCheck', subject: 'command' } as const, { op: 'waitStart', subject: 'start' } as const]),
    ...hookOps('hook', HOOK_PHASE.start, 'startContainer', hooks?.start ?? []),
  ];
}

/**
 * From a container's mounts to operations: kernel file systems, the usual devices, what the spec adds.
 *
 * All targets are resolved inside the root by the launcher; here paths are only words.
 */
import { programOptions, type Mount } from '../../native/mount.ts';
import { ATTRIBUTE, PROPAGATION, type PlanOp, type RootTree } from '../../native/plan-ops.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Attachment, ContainerMount, ContainerSpec, DeviceNode, IdMap, IdMaps } from './runtime.ts';
import type { Machine } from './machine.ts';

/** Bytes of /dev/shm, as docker has it. */
const DEFAULT_SHM = 64 << 20;

/** Only attributes of what is mounted there. */
const UNCHANGED: Omit<Attachment, 'target' | 'set'> = {
  ...{ type: 'none', source: '', bind: false, recursive: false, copyUp: false, remount: true },
  ...{ clear: 0, setBelow: 0, clearBelow: 0, propagation: 0, options: [] },
};

/** Where a device made outside a user namespace is put. */
const NODE_MOUNT: Omit<Attachment, 'target'> = {
  ...{ type: 'bind', source: '', bind: true, recursive: false, copyUp: false, remount: false },
  ...{ set: 0, clear: 0, setBelow: 0, clearBelow: 0, propagation: 0, options: [] },
};

const { readonly: RDONLY, nosuid: NOSUID, nodev: NODEV, noexec: NOEXEC } = ATTRIBUTE;

/** Mounts and nodes in the order in which they are made; what the launcher's parent must open comes first. */
export function mountOpsOf(spec: ContainerSpec, machine: Machine): readonly PlanOp[] {
  const outside: PlanOp[] = [];
  const later: PlanOp[] = [];
  // The root is the first of each where its ids are mapped, and the first tree where a program serves it.
  let idmaps = spec.root.idMaps === undefined ? 0 : 1;
  let trees = spec.root.mounts.some(isServed) ? 1 : idmaps;
  const hasUsual = spec.kernelMounts !== false;
  const sys = hasUsual && borrowsSys(spec) ? HOST_SYS : undefined;
  if (sys !== undefined) {
    outside.push({
      op: 'tree',
      subject: 'mount of /sys',
      source: '/sys',
      recursive: true,
      idmap: 0,
      idmapRecursive: false,
      noFollow: false,
    });
    trees += 1;
  }
  const usual = hasUsual
    ? [
        ...kernelFileSystems(machine, sys === undefined ? undefined : attachOp(sys, 'mount of /sys', trees)),
        ...devices(spec),
      ]
    : [];
  const inside = spec.mounts.flatMap((mount, index) => {
    const subject = `mounts[${index}] at ${JSON.stringify(mount.target)}`;
    if (mount.kind === 'assembled') {
      const [first] = mount.mounts;
      const served = first === undefined ? undefined : servedTree(first, subject);
      if (served === undefined) return mountOps(mount, subject, machine);
      outside.push(served);
      trees += 1;
      return [assembledOp(mount, { kind: 'tree', tree: trees }, subject, machine)];
    }
    if (mount.kind !== 'attach') return mountOps(mount, subject, machine);
    if (mount.of !== undefined) {
      outside.push({ op: 'foreignTree', subject, ...mount.of, path: mount.source });
      trees += 1;
      return [attachOp(mount, subject, trees)];
    }
    if (isOpenedInside(mount, spec)) {
      if (mount.idMaps === undefined) return [attachOp(mount, subject, 0, true)];
      outside.push({ op: 'idmap', subject, ...idMapText(mount.idMaps) });
      idmaps += 1;
      return [attachOp(mount, subject, idmaps, true)];
    }
    if (mount.idMaps === undefined && mount.outside !== true) {
      if (isLater(mount)) later.push(attachOp({ ...UNCHANGED, target: mount.target, set: 1 }, subject, 0));
      return [attachOp(isLater(mount) ? { ...mount, set: mount.set & ~1 } : mount, subject, 0)];
    }
    if (mount.idMaps !== undefined) {
      outside.push({ op: 'idmap', subject, ...idMapText(mount.idMaps) });
      idmaps += 1;
    }
    outside.push({
      op: 'tree',
      subject,
      source: mount.source,
      recursive: mount.recursive,
      idmap: mount.idMaps === undefined ? 0 : idmaps,
      idmapRecursive: mount.idMaps?.recursive === true,
      noFollow: mount.sourceNoFollow === true,
    });
    trees += 1;
    return [attachOp(mount, subject, trees)];
  });
  const isMapped = (spec.namespaces?.user ?? 'host') !== 'host';
  const nodes = [...(isMapped && hasUsual ? USUAL_NODES : []), ...(spec.devices ?? [])];
  if (!isMapped) {
    const made = nodes.map((node) => nodeOp('device', node, undefined));
    return [...outside, ...usual, ...inside, ...made, ...later];
  }
  const mounted = nodes.map((node, index) =>
    attachOp({ ...NODE_MOUNT, target: node.path }, `device ${node.path}`, trees + index + 1),
  );
  const made = nodes.map((node) => nodeOp('node', node, spec.idMaps));
  return [...outside, ...made, ...usual, ...inside, ...mounted, ...later];
}

/**
 * why: what the host's mounts forbid is locked only for what the kernel has copied into a user namespace's mount
 * namespace. A mount that shall share its changes with the host must be the host's own.
 */
function isOpenedInside(
  { inside, outside, propagation }: Attachment,
  { namespaces }: ContainerSpec,
): boolean {
  if (inside === true) return true;
  const isCopied = (namespaces?.user ?? 'host') !== 'host' && (namespaces?.mount ?? 'new') === 'new';
  return outside === true && isCopied && (propagation & PROPAGATION.shared) === 0;
}

/** A read-only tmpfs (a /dev) gets its mounts and nodes first. */
function isLater({ type, bind, remount, set }: Attachment): boolean {
  return type === 'tmpfs' && !bind && !remount && (set & 1) !== 0;
}

/** Mounts in a container that runs, whose sources are the caller's. */
export function lateMountOps(mounts: readonly Attachment[]): readonly PlanOp[] {
  const subjects = mounts.map(({ target }, index) => `mounts[${index}] at ${JSON.stringify(target)}`);
  const binds = mounts.filter(({ bind }) => bind);
  return [
    ...binds.map(
      (mount): PlanOp =>
        ({
          op: 'tree',
          ...{ subject: `mount of ${mount.source}`, source: mount.source },
          ...{ recursive: mount.recursive, idmap: 0, idmapRecursive: false },
          noFollow: mount.sourceNoFollow === true,
        }) as const,
    ),
    ...mounts.map((mount, index) => attachOp(mount, subjects[index] ?? '', binds.indexOf(mount) + 1)),
  ];
}

/** Lines of uid_map and gid_map, as the `idmap` operation has them. */
export function idMapText({ uids, gids, namespace }: IdMaps): {
  readonly uids: string;
  readonly gids: string;
} {
  if (namespace !== undefined) return { uids: '', gids: namespace };
  const lines = (maps: readonly IdMap[]): string =>
    maps.map(({ inside, outside, size }) => `${inside} ${outside} ${size}\n`).join('');
  return { uids: lines(uids), gids: lines(gids) };
}

function attachOp(mount: Attachment, subject: string, tree: number, inside = false): PlanOp {
  const { type, source, target, bind, recursive, copyUp, remount } = mount;
  const { set, clear, setBelow, clearBelow, propagation, options } = mount;
  return {
    ...{ op: 'attach', subject, type, source, target, bind, recursive, copyUp, remount },
    ...{ set, clear, setBelow, clearBelow, propagation, options, tree },
    sourceNoFollow: mount.sourceNoFollow === true,
    targetNoFollow: mount.targetNoFollow === true,
    sourceInRoot: mount.sourceInRoot === true,
    keepMode: mount.keepMode === true,
    inside,
    idmapRecursive: inside && mount.idMaps?.recursive === true,
    locked: mount.locked === true,
  };
}

const NODE_TYPE = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

function nodeOp(
  op: 'device' | 'node',
  { type, mode, ...node }: DeviceNode,
  maps: IdMaps | undefined,
): PlanOp {
  return {
    ...{ op, subject: `device ${node.path}`, path: node.path, mode: NODE_TYPE[type] | mode },
    ...{ major: node.major, minor: node.minor },
    uid: outsideId(node.uid, maps?.uids),
    gid: outsideId(node.gid, maps?.gids),
  };
}

/** The host's id that stands for one of a user namespace; itself where there is none. */
function outsideId(id: number, maps: readonly IdMap[] | undefined): number {
  const map = maps?.find(({ inside, size }) => id >= inside && id < inside + size);
  return map === undefined ? id : map.outside + (id - map.inside);
}

/** The kernel shows sysfs to a user namespace only where the network namespace is that one's too. */
function borrowsSys(spec: ContainerSpec): boolean {
  return (spec.namespaces?.user ?? 'host') !== 'host' && spec.network !== 'none';
}

const HOST_SYS: Attachment = {
  ...{ type: '', source: '/sys', target: '/sys', bind: true, recursive: true, copyUp: false, remount: false },
  ...{ set: RDONLY, clear: 0, setBelow: RDONLY, clearBelow: 0, propagation: 0, options: [], outside: true },
};

function kernelFileSystems(machine: Machine, sys: PlanOp | undefined): readonly PlanOp[] {
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
    sys ?? mount('sysfs', '/sys', RDONLY | NOSUID | NODEV | NOEXEC),
    machine.cgroup2
      ? mount('cgroup2', '/sys/fs/cgroup', RDONLY | NOSUID | NODEV | NOEXEC)
      : mount('tmpfs', '/sys/fs/cgroup', RDONLY | NOSUID | NODEV | NOEXEC),
    mount('tmpfs', '/dev', NOSUID, [
      ['mode', '755'],
      ['size', '65536k'],
    ]),
  ];
}

const USUAL_NODES: readonly DeviceNode[] = (
  [
    ['null', 1, 3],
    ['zero', 1, 5],
    ['full', 1, 7],
    ['random', 1, 8],
    ['urandom', 1, 9],
    ['tty', 5, 0],
  ] as const
).map(([name, major, minor]) => ({
  ...{ path: `/dev/${name}`, type: 'char', major, minor, mode: 0o666, uid: 0, gid: 0 },
}));

function usualNode({ path, mode, major, minor }: DeviceNode): PlanOp {
  return { op: 'mknod', subject: path, path, mode: NODE_TYPE.char | mode, major, minor };
}

function devices(spec: ContainerSpec): readonly PlanOp[] {
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
  const isMapped = (spec.namespaces?.user ?? 'host') !== 'host';
  return [
    // Nobody may make nodes in a user namespace: there they are made outside and mounted.
    ...(isMapped ? [] : USUAL_NODES.map(usualNode)),
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
    ...(spec.shmSize === 0
      ? []
      : mount('tmpfs', 'shm', NOSUID | NODEV | NOEXEC, [
          ['mode', '1777'],
          ['size', `${spec.shmSize ?? DEFAULT_SHM}`],
        ])),
    // why: a user namespace mounts the queues of its own ipc namespace alone; others come as a mount of somebody's.
    ...(isMapped && (spec.namespaces?.ipc ?? 'new') !== 'new'
      ? []
      : mount('mqueue', 'mqueue', NOSUID | NODEV | NOEXEC, [])),
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

function mountOps(
  mount: Exclude<ContainerMount, { kind: 'attach' }>,
  named: string,
  machine: Machine,
): readonly PlanOp[] {
  switch (mount.kind) {
    case 'symlink':
      return [{ op: 'symlink', subject: named, target: mount.to, path: mount.target }];
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
      return [assembledOp(mount, mountable(first), named, machine)];
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

function assembledOp(
  { source, target, readonly }: Extract<ContainerMount, { kind: 'assembled' }>,
  mount: Mount | RootTree,
  subject: string,
  { mountPoint: point }: Machine,
): PlanOp {
  return { op: 'assembled', subject, mount, point, inside: source, target, readonly };
}

function isServed(mount: Mount): boolean {
  return mount.kind === 'overlay' && mount.program !== undefined;
}

/** For the parent to make, where a program shows an overlay; undefined: the kernel does. */
export function servedTree(mount: Mount, subject: string): PlanOp | undefined {
  if (mount.kind !== 'overlay' || mount.program === undefined) return undefined;
  return { op: 'servedTree', subject, program: mount.program, options: programOptions(mount) };
}

/** overlayfs refuses to show one directory alone; a bind mount shows the same. (The launcher does so for an image.) */
function mountable(mount: Mount): Mount {
  if (mount.kind !== 'overlay' || mount.upper !== undefined || mount.lower.length !== 1) return mount;
  const [source] = mount.lower;
  return typeof source === 'string' ? { kind: 'bind', source, readonly: true } : mount;
}

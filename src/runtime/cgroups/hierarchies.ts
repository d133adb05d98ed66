/**
 * Which cgroup hierarchies there are, and which of them holds which controller: v1, v2 and hybrid alike. Pure.
 *
 * A hybrid machine has controllers in v1 hierarchies and a v2 hierarchy beside them, which may hold controllers of
 * its own; so the question is asked for each controller, never for the machine.
 *
 * Specs: proc(5), /proc/PID/mountinfo; cgroups(7), /proc/PID/cgroup; Documentation/admin-guide/cgroup-v2.rst.
 */

export interface Hierarchy {
  readonly version: 1 | 2;
  /** As the kernel calls them (`cpu`, `cpuacct`, `io`, …); none for a named v1 hierarchy. */
  readonly controllers: readonly string[];
  /** `systemd` of `name=systemd`. */
  readonly name?: string;
  readonly mountPoint: string;
  /** Our own cgroup as a path below the mount point; `/` where it is not visible there. */
  readonly self: string;
}

export interface Hierarchies {
  readonly v1: readonly Hierarchy[];
  readonly unified?: Hierarchy;
}

interface CgroupMount {
  readonly version: 1 | 2;
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
}

interface Membership {
  /** `cpu,cpuacct`, `name=systemd`, or empty for v2. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** `unifiedControllers`: what a v2 mount point's cgroup.controllers holds. */
export function parseHierarchies(
  mountinfo: string,
  cgroups: string,
  unifiedControllers: (mountPoint: string) => string,
): Hierarchies {
  const mounts = mountinfo.split('\n').flatMap(parseMount);
  const memberships = cgroups.split('\n').flatMap(parseMembership);
  const v1 = memberships
    .filter(({ controllers }) => controllers.length > 0)
    .flatMap((membership): Hierarchy[] => {
      const mount = mounts.find(
        ({ version, options }) =>
          version === 1 && membership.controllers.every((name) => options.includes(name)),
      );
      return mount === undefined ? [] : [v1Hierarchy(mount, membership)];
    });
  const own = memberships.find(({ controllers }) => controllers.length === 0);
  const mount = mounts.find(({ version }) => version === 2);
  if (own === undefined || mount === undefined) return { v1 };
  const controllers = unifiedControllers(mount.mountPoint).split(/\s+/).filter(Boolean);
  return {
    v1,
    unified: {
      version: 2,
      controllers,
      mountPoint: mount.mountPoint,
      self: below(mount.root, own.path),
    },
  };
}

/** Controllers that have another name in v2. */
const V2_NAMES: Readonly<Record<string, string>> = { blkio: 'io', cpuacct: 'cpu' };

/**
 * Where a controller (by its v1 name: `cpu`, `cpuset`, `memory`, `blkio`, `pids`, `hugetlb`, `rdma`, …) lives.
 * `devices` and `freezer` are no controllers in v2, every cgroup there has them.
 */
export function holderOf<H extends Hierarchy | Omit<Hierarchy, 'self'>>(
  { v1, unified }: { readonly v1: readonly H[]; readonly unified?: H | undefined },
  controller: string,
): H | undefined {
  const old = v1.find(({ controllers }) => controllers.includes(controller));
  if (old !== undefined || unified === undefined) return old;
  const always = controller === 'devices' || controller === 'freezer';
  return always || unified.controllers.includes(V2_NAMES[controller] ?? controller) ? unified : undefined;
}

function parseMount(line: string): CgroupMount[] {
  const [before, after] = line.split(' - ');
  const [, , , root, mountPoint] = before?.split(' ') ?? [];
  const [type, , options] = after?.split(' ') ?? [];
  if (root === undefined || mountPoint === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
  return [
    {
      version: type === 'cgroup' ? 1 : 2,
      root: unescapeField(root),
      mountPoint: unescapeField(mountPoint),
      options: options?.split(',') ?? [],
    },
  ];
}

/** Space, tab, newline and backslash come as octal. */
function unescapeField(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

function parseMembership(line: string): Membership[] {
  const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
  if (match === null) return [];
  const [, controllers = '', path = '/'] = match;
  return [{ controllers: controllers.split(',').filter(Boolean), path }];
}

function v1Hierarchy(mount: CgroupMount, { controllers, path }: Membership): Hierarchy {
  const name = controllers.find((each) => each.startsWith('name='))?.slice('name='.length);
  return {
    version: 1,
    controllers: controllers.filter((each) => !each.startsWith('name=')),
    ...(name === undefined ? {} : { name }),
    mountPoint: mount.mountPoint,
    self: below(mount.root, path),
  };
}

/** A mount may show a part of its hierarchy alone; what lies outside of it cannot be reached. */
function below(root: string, path: string): string {
  if (path.includes('/..')) return '/';
  if (root === '/') return path;
  if (path === root) return '/';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : '/';
}

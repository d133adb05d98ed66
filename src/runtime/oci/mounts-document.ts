/**
 * `mounts`, `linux.devices` and what belongs to /dev, as mounts and nodes of a container spec.
 *
 * Spec: OCI runtime-spec v1.2, config.md "Mounts", config-linux.md "Default Devices" and "Dev symbolic links".
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { isAbsolute, join, posix } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { CgroupPlace } from '../cgroups/cgroup.ts';
import { cgroupMounts } from '../cgroups/mounts.ts';
import type { Attachment, ContainerMount, DeviceNode, IdMaps } from '../runtime.ts';
import { borrowedSys, isSysfs, NO_CGROUPS } from './borrowed-sys.ts';
import type { Fields } from './fields.ts';
import { parseIdMaps, parseIdMapText } from './id-maps.ts';
import { bindAttributes, parseMountOptions, type MountOptions } from './mount-options.ts';

export interface MountPlace {
  readonly bundle: string;
  /** The root's path on the host. */
  readonly rootfs: string;
  /** Where the container's cgroup is; undefined: it has none of its own. */
  readonly cgroup: CgroupPlace | undefined;
  /** In a cgroup namespace the container's own cgroup is the root of what can be mounted. */
  readonly hasCgroupNamespace: boolean;
  readonly userMaps: IdMaps | undefined;
  /** The container has a mount namespace of its own, where what earlier mounts brought is. */
  readonly hasMountNamespace: boolean;
  /** The kernel mounts no sysfs for it, see borrowed-sys.ts. */
  readonly borrowsSys: boolean;
}

/** Throws SPEC_INVALID. */
export function parseMounts(config: Fields, place: MountPlace): readonly ContainerMount[] {
  const mounts = mountsOf(config, place);
  return hasBoundDev(config) ? mounts : [...mounts, ...devLinks()];
}

/** What is in `mounts`, and no more. Throws SPEC_INVALID. */
export function mountsOf(config: Fields, place: MountPlace): readonly ContainerMount[] {
  const mounts = config.list('mounts');
  const hasCgroups = mounts.some((each) => clean(each.text('destination') ?? '') === NO_CGROUPS.target);
  return mounts.flatMap((each) => [
    ...mountOf(each, place),
    ...(place.borrowsSys && !hasCgroups && isSysfs(each) ? [NO_CGROUPS] : []),
  ]);
}

/** Whether /dev is the host's, in which nothing is to be made. */
export function hasBoundDev(config: Fields): boolean {
  return config
    .list('mounts')
    .some(
      (each) =>
        clean(each.text('destination') ?? '') === '/dev' && parseMountOptions(each.texts('options')).bind,
    );
}

function mountOf(mount: Fields, place: MountPlace): readonly ContainerMount[] {
  const destination = mount.required('destination', mount.text('destination'));
  const target = withoutRoot(clean(destination), place.rootfs);
  const type = mount.text('type') ?? '';
  const options = parseMountOptions(mount.texts('options'));
  checkTarget(target, type, options);
  if (place.borrowsSys && isSysfs(mount)) return [borrowedSys(target, options)];
  if (type === 'cgroup' && place.cgroup !== undefined && place.cgroup.v1.length > 0)
    return cgroupMounts(place.cgroup, {
      target,
      flags: flagsOf(options),
      hasNamespace: place.hasCgroupNamespace,
    });
  const bind = options.bind || type === 'bind';
  const source = sourceOf(mount.text('source') ?? '', bind, type, place);
  if (options.copySymlink && bind && lstatSync(source, { throwIfNoEntry: false })?.isSymbolicLink() === true)
    return [{ kind: 'symlink', target, to: readlinkSync(source) }];
  const idMaps = idMapsOf(mount, options, place);
  const isBrought = isBelow(source, place.rootfs);
  // why: the container's own user namespace may not map ids, nor may the launcher see its mounts from where it is.
  const inside = bind && idMaps !== undefined && isBrought && place.hasMountNamespace;
  const outside = bind && place.userMaps !== undefined && !isBrought;
  const { set, clear } = bind && !options.remount ? bindAttributes(options) : options;
  return [
    {
      kind: 'attach',
      ...flagsOf(options),
      set,
      clear: clear | impliedClear(options, bind, place.userMaps !== undefined),
      ...{ target, source, bind, recursive: options.recursive, copyUp: options.copyUp },
      type: type === 'cgroup' ? 'cgroup2' : type === '' ? 'none' : type,
      options: bind ? [] : options.data,
      ...(idMaps === undefined ? {} : { idMaps }),
      ...{ inside, outside, locked: outside, sourceInRoot: bind && isBrought },
      sourceNoFollow: options.sourceNoFollow,
      targetNoFollow: options.targetNoFollow,
      keepMode: type === 'tmpfs' && !bind && !options.data.some(([key]) => key === 'mode'),
    },
  ];
}

function flagsOf(
  options: MountOptions,
): Pick<Attachment, 'remount' | 'set' | 'clear' | 'setBelow' | 'clearBelow' | 'propagation'> {
  const { remount, set, clear, setBelow, clearBelow, propagation } = options;
  return { remount, set, clear, setBelow, clearBelow, propagation };
}

const NOSYMFOLLOW = 0x200000;
/** ro, nosuid, nodev, noexec: what a user namespace may not take away. */
const LOCKABLE = 0x0f;

/**
 * A bind with an attribute of its own has those that it names (`rro` names one for all that is below, too) and no others,
 * as with other runtimes; without any it keeps what its source has.
 */
function impliedClear(
  { set, setBelow, clear, remount }: MountOptions,
  bind: boolean,
  hasMaps: boolean,
): number {
  if (!bind || remount || (set | clear) === 0) return 0;
  return (hasMaps ? NOSYMFOLLOW : NOSYMFOLLOW | LOCKABLE) & ~(set | setBelow);
}

/** Binds are relative to the bundle; a device (tmpfs, none) is only a word. */
function sourceOf(source: string, bind: boolean, type: string, { bundle, rootfs }: MountPlace): string {
  if (!bind) return source === '' ? type : source;
  const path = isAbsolute(source) ? source : join(bundle, source);
  if (!isBelow(path, rootfs) && lstatSync(path, { throwIfNoEntry: false }) === undefined)
    throw new TsbuildError('SPEC_INVALID', `mount source ${JSON.stringify(path)}: no such file or directory`);
  return path;
}

function isBelow(path: string, rootfs: string): boolean {
  return rootfs !== '/' && path.startsWith(`${rootfs}/`);
}

/** Some callers write the host's path of a place in the root; every runtime takes it for the place. */
function withoutRoot(target: string, rootfs: string): string {
  return isBelow(target, rootfs) ? target.slice(rootfs.length) : target;
}

function clean(path: string): string {
  return posix.normalize(`/${path}`).replace(/(.)\/$/, '$1');
}

const PROC_FILES = new Set([
  ...['/proc/cpuinfo', '/proc/diskstats', '/proc/meminfo', '/proc/stat', '/proc/swaps', '/proc/uptime'],
  ...['/proc/loadavg', '/proc/slabinfo', '/proc/net/dev', '/proc/sys/kernel/ns_last_pid'],
  '/proc/sys/crypto/fips_enabled',
]);

/** What lies over /proc could make security settings go elsewhere (CVE-2019-16884, CVE-2019-19921). */
function checkTarget(target: string, type: string, options: MountOptions): void {
  if (target === '/proc' || target === '/sys') {
    // A bind of a container's own kind of file system is what other engines do in user namespaces.
    if (type === 'tmpfs' && target === '/proc')
      throw new TsbuildError(
        'SPEC_INVALID',
        `${JSON.stringify(target)} must be a mount of proc, not of ${type}`,
      );
    return;
  }
  if (!target.startsWith('/proc/') || PROC_FILES.has(target) || options.remount) return;
  throw new TsbuildError(
    'SPEC_INVALID',
    `${JSON.stringify(target)} cannot be mounted because it is inside /proc`,
  );
}

function idMapsOf(mount: Fields, options: MountOptions, place: MountPlace): Attachment['idMaps'] {
  const given = parseIdMaps(mount);
  if (options.idmap === undefined && given === undefined) return undefined;
  const maps =
    given ?? (options.idmapText === undefined ? place.userMaps : parseIdMapText(options.idmapText));
  if (maps === undefined)
    throw new TsbuildError('SPEC_INVALID', `${mount.nameOf('options')}: idmap without mappings`);
  return { ...maps, recursive: options.idmap === 'all' };
}

const DEV_LINKS = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
] as const;

function devLinks(): readonly ContainerMount[] {
  return DEV_LINKS.map(([to, name]) => ({ kind: 'symlink', target: `/dev/${name}`, to }));
}

const DEFAULT_NODES: readonly DeviceNode[] = (
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

const NODE_TYPES = { c: 'char', u: 'char', b: 'block', p: 'fifo' } as const;

/** The config's devices and the default ones; the config's win. */
export function parseDevices(linux: Fields): readonly DeviceNode[] {
  const given = linux.list('devices').map((device): DeviceNode => {
    const path = clean(device.required('path', device.text('path')));
    const type = NODE_TYPES[device.text('type') as keyof typeof NODE_TYPES] as DeviceNode['type'] | undefined;
    return {
      path,
      type: device.required('type', type),
      major: device.number('major') ?? 0,
      minor: device.number('minor') ?? 0,
      mode: (device.number('fileMode') ?? 0o666) & 0o7777,
      uid: device.number('uid') ?? 0,
      gid: device.number('gid') ?? 0,
    };
  });
  const paths = new Set(given.map(({ path }) => path));
  return [...given, ...DEFAULT_NODES.filter(({ path }) => !paths.has(path))];
}

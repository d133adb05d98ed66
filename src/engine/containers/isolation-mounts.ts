/**
 * Mounts of a container: from what was asked for to what the launcher does. Pure.
 *
 * Later mounts hide earlier ones, so parents come first. Numbers: MOUNT_ATTR_* of mount_setattr(2), MS_* of mount(2).
 */
import { ATTRIBUTE } from '../../../native/plan-ops.ts';
import type { ContainerMount, IdMaps } from '../../runtime/runtime.ts';
import type { MountRequest, Propagation } from '../../runtime/container-options.ts';

const NOATIME = 0x10;
const STRICTATIME = 0x20;
const ATIME_MASK = 0x70;
const NODIRATIME = 0x80;
const MS_REC = 0x4000;

export const PROPAGATION_FLAGS: Readonly<Record<Propagation, number>> = {
  private: 1 << 18,
  rprivate: (1 << 18) | MS_REC,
  slave: 1 << 19,
  rslave: (1 << 19) | MS_REC,
  shared: 1 << 20,
  rshared: (1 << 20) | MS_REC,
};

const BASE = {
  ...{ type: '', source: '', recursive: false, copyUp: false, remount: false, clear: 0, setBelow: 0 },
  ...{ clearBelow: 0, propagation: 0, options: [] },
} as const;

/**
 * `directoryOf`: where a volume's files are on the host. With `idMaps` a volume's files belong to the same ids inside
 * as without; what is mounted of the host belongs to whom it belongs.
 */
export function containerMounts(
  mounts: readonly MountRequest[],
  directoryOf: (volume: string) => string,
  idMaps?: IdMaps,
): readonly ContainerMount[] {
  // why: a user namespace's root may not look into the host's directories, so the launcher's parent opens them.
  const outside = idMaps === undefined ? {} : { outside: true };
  const mapped = idMaps === undefined ? {} : { idMaps: { ...idMaps, recursive: false } };
  return parentsFirst(mounts).map((mount) => {
    switch (mount.kind) {
      case 'bind':
        return { ...bindMount(mount), ...outside };
      case 'volume': {
        const directory = directoryOf(mount.name ?? '');
        return { ...volumeMount(mount), source: directory, ...outside, ...mapped };
      }
      case 'tmpfs':
        return tmpfsMount(mount);
    }
  });
}

export function parentsFirst<T extends { readonly target: string }>(mounts: readonly T[]): readonly T[] {
  const depth = ({ target }: T): number => target.split('/').length;
  return [...mounts].sort((a, b) => depth(a) - depth(b));
}

function bindMount(
  mount: Extract<MountRequest, { kind: 'bind' }>,
): Extract<ContainerMount, { kind: 'attach' }> {
  const { source, target, recursive, readonly, writableBelow, propagation = 'rprivate' } = mount;
  return {
    ...BASE,
    ...{ kind: 'attach', bind: true, source, target, recursive },
    set: readonly ? ATTRIBUTE.readonly : 0,
    setBelow: readonly && recursive && writableBelow !== true ? ATTRIBUTE.readonly : 0,
    propagation: PROPAGATION_FLAGS[propagation],
  };
}

function volumeMount(
  mount: Extract<MountRequest, { kind: 'volume' }>,
): Extract<ContainerMount, { kind: 'attach' }> {
  return {
    ...BASE,
    ...{ kind: 'attach', bind: true, target: mount.target },
    set: mount.readonly ? ATTRIBUTE.readonly : 0,
    propagation: PROPAGATION_FLAGS.rprivate,
  };
}

const WORDS: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  exec: [0, ATTRIBUTE.noexec],
  noexec: [ATTRIBUTE.noexec, 0],
  suid: [0, ATTRIBUTE.nosuid],
  nosuid: [ATTRIBUTE.nosuid, 0],
  dev: [0, ATTRIBUTE.nodev],
  nodev: [ATTRIBUTE.nodev, 0],
  noatime: [NOATIME, ATIME_MASK],
  strictatime: [STRICTATIME, ATIME_MASK],
  relatime: [0, ATIME_MASK],
  atime: [0, 0],
  norelatime: [0, 0],
  nodiratime: [NODIRATIME, 0],
  diratime: [0, NODIRATIME],
};

/** As docker: noexec, nosuid and nodev unless their contrary is asked for. */
function tmpfsMount(mount: Extract<MountRequest, { kind: 'tmpfs' }>): ContainerMount {
  const start = ATTRIBUTE.noexec | ATTRIBUTE.nosuid | ATTRIBUTE.nodev;
  const attributes = mount.options.reduce((flags, word) => {
    const [set, clear] = WORDS[word] ?? [0, 0];
    return (flags & ~clear) | set;
  }, start);
  const numbers = mount.options.filter((word) => word.includes('='));
  return {
    ...BASE,
    ...{ kind: 'attach', bind: false, type: 'tmpfs', source: 'tmpfs', target: mount.target },
    set: mount.readonly ? attributes | ATTRIBUTE.readonly : attributes,
    keepMode: mount.mode === undefined,
    options: [
      ...(mount.mode === undefined ? [] : [['mode', mount.mode.toString(8)] as const]),
      ...(mount.size === undefined ? [] : [['size', String(mount.size)] as const]),
      ...numbers.map(
        (word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)] as const,
      ),
    ],
  };
}

/** What "/" in the container must be, so that a mount can share its changes; undefined: nothing special. */
export function rootPropagation(mounts: readonly MountRequest[]): number | undefined {
  const asked = mounts.flatMap((mount) => (mount.kind === 'bind' ? (mount.propagation ?? []) : []));
  if (asked.some((each) => each.endsWith('shared'))) return PROPAGATION_FLAGS.rshared;
  return asked.some((each) => each.endsWith('slave')) ? PROPAGATION_FLAGS.rslave : undefined;
}

/**
 * Options of a mount as fstab and the OCI config write them, sorted into attributes, propagation and what the file
 * system itself is told. Pure.
 *
 * Spec: OCI runtime-spec v1.2, config.md, "Linux mount options"; mount(8), mount_setattr(2).
 */
import { PROPAGATION } from '../../../native/plan-ops.ts';

const ATIME = 0x70;

/** name → attributes set, attributes cleared. */
const ATTRIBUTES: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [0x01, 0],
  rw: [0, 0x01],
  nosuid: [0x02, 0],
  suid: [0, 0x02],
  nodev: [0x04, 0],
  dev: [0, 0x04],
  noexec: [0x08, 0],
  exec: [0, 0x08],
  relatime: [0, ATIME],
  norelatime: [0x20, ATIME],
  noatime: [0x10, ATIME],
  atime: [0, ATIME],
  strictatime: [0x20, ATIME],
  nostrictatime: [0, ATIME],
  nodiratime: [0x80, 0],
  diratime: [0, 0x80],
  nosymfollow: [0x200000, 0],
  symfollow: [0, 0x200000],
};

const PROPAGATIONS: Readonly<Record<string, number>> = {
  private: PROPAGATION.private,
  rprivate: PROPAGATION.private | PROPAGATION.recursive,
  slave: PROPAGATION.slave,
  rslave: PROPAGATION.slave | PROPAGATION.recursive,
  shared: PROPAGATION.shared,
  rshared: PROPAGATION.shared | PROPAGATION.recursive,
  unbindable: PROPAGATION.unbindable,
  runbindable: PROPAGATION.unbindable | PROPAGATION.recursive,
};

/** Of the file system, not of the mount: told to it as flags. */
const SUPERBLOCK = new Set(['sync', 'dirsync', 'mand', 'lazytime']);
const WITHOUT_EFFECT = new Set([
  ...['defaults', 'async', 'nomand', 'silent', 'loud', 'iversion', 'noiversion', 'nolazytime', 'nofail'],
  ...['auto', 'noauto', 'user', 'nouser', '_netdev'],
]);

export const KNOWN_MOUNT_OPTIONS: readonly string[] = [
  ...Object.keys(ATTRIBUTES),
  ...Object.keys(ATTRIBUTES).map((name) => `r${name}`),
  ...Object.keys(PROPAGATIONS),
  ...SUPERBLOCK,
  ...[
    'async',
    'bind',
    'defaults',
    'idmap',
    'rbind',
    'remount',
    'ridmap',
    'tmpcopyup',
    'copy-symlink',
    'src-nofollow',
    'dest-nofollow',
  ],
].toSorted();

export function propagationOf(name: string): number | undefined {
  return PROPAGATIONS[name];
}

export interface MountOptions {
  readonly bind: boolean;
  readonly recursive: boolean;
  readonly copyUp: boolean;
  readonly remount: boolean;
  /** A symlink that is the source is made again at the target. */
  readonly copySymlink: boolean;
  /** A symlink that is the source is mounted itself. */
  readonly sourceNoFollow: boolean;
  /** A symlink that is the target is mounted on. */
  readonly targetNoFollow: boolean;
  readonly set: number;
  readonly clear: number;
  readonly setBelow: number;
  readonly clearBelow: number;
  readonly propagation: number;
  /** Undefined: no; else whether what is mounted below is mapped, too. */
  readonly idmap: 'one' | 'all' | undefined;
  /** What stands after `idmap=`. */
  readonly idmapText: string | undefined;
  readonly data: readonly (readonly [string, string])[];
}

export function parseMountOptions(options: readonly string[]): MountOptions {
  const flags = {
    ...{ bind: false, recursive: false, copyUp: false, remount: false },
    ...{ copySymlink: false, sourceNoFollow: false, targetNoFollow: false },
  };
  let [here, below] = [
    { set: 0, clear: 0 },
    { set: 0, clear: 0 },
  ];
  let propagation = 0;
  let idmap: MountOptions['idmap'];
  let idmapText: string | undefined;
  const data: [string, string][] = [];
  for (const option of options) {
    const attribute = ATTRIBUTES[option];
    const recursive = option.startsWith('r') ? ATTRIBUTES[option.slice(1)] : undefined;
    if (attribute !== undefined) here = change(here, attribute);
    else if (recursive !== undefined) below = change(below, recursive);
    else if (PROPAGATIONS[option] !== undefined) propagation = PROPAGATIONS[option];
    else if (option === 'bind' || option === 'rbind')
      Object.assign(flags, { bind: true, recursive: option === 'rbind' });
    else if (option === 'remount') flags.remount = true;
    else if (option === 'tmpcopyup') flags.copyUp = true;
    else if (option === 'copy-symlink') flags.copySymlink = true;
    else if (option === 'src-nofollow') flags.sourceNoFollow = true;
    else if (option === 'dest-nofollow') flags.targetNoFollow = true;
    else if (/^r?idmap(=|$)/.test(option)) {
      idmap = option.startsWith('r') ? 'all' : 'one';
      idmapText = /=(.*)$/.exec(option)?.[1];
    } else if (SUPERBLOCK.has(option)) data.push([option, '']);
    else if (option !== '' && !WITHOUT_EFFECT.has(option)) data.push(splitOption(option));
  }
  return {
    ...flags,
    ...here,
    setBelow: below.set,
    clearBelow: below.clear,
    ...{ propagation, idmap, idmapText, data },
  };
}

interface Change {
  readonly set: number;
  readonly clear: number;
}

/** The later one wins. */
function change(before: Change, [set, clear]: readonly [number, number]): Change {
  return { set: (before.set & ~clear) | set, clear: (before.clear & ~set) | clear };
}

function splitOption(option: string): [string, string] {
  const at = option.indexOf('=');
  return at < 0 ? [option, ''] : [option.slice(0, at), option.slice(at + 1)];
}

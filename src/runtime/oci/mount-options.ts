/**
 * Options of a mount as fstab and the OCI config write them, sorted into attributes, propagation and what the file
 * system itself is told. Pure.
 *
 * Spec: OCI runtime-spec v1.2, config.md, "Linux mount options"; mount(8), mount_setattr(2).
 */
import { PROPAGATION } from '../../../native/plan-ops.ts';

const ATIME = 0x70;
const NODIRATIME = 0x80;
const ACCESS = ATIME | NODIRATIME;

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
  norelatime: [0, ATIME],
  noatime: [0x10, ATIME],
  atime: [0, ATIME],
  strictatime: [0x20, ATIME],
  nostrictatime: [0, ATIME],
  nodiratime: [0x80, 0],
  diratime: [0, 0x80],
  nosymfollow: [0x200000, 0],
  symfollow: [0, 0x200000],
};

/** name → what it asks for, and whether it takes that back. */
const ACCESS_ASKED: Readonly<Record<string, readonly [asked: number, not: boolean]>> = {
  noatime: [1, false],
  atime: [1, true],
  relatime: [2, false],
  norelatime: [2, true],
  strictatime: [4, false],
  nostrictatime: [4, true],
  nodiratime: [8, false],
  diratime: [8, true],
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
  /** What was asked for access times (ACCESS_ASKED), for a bind; other mounts have them in `set` and `clear`. */
  readonly access: number;
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
  let access = 0;
  let propagation = 0;
  let idmap: MountOptions['idmap'];
  let idmapText: string | undefined;
  const data: [string, string][] = [];
  for (const option of options) {
    access = ask(access, ACCESS_ASKED[option]);
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
    ...{ access, propagation, idmap, idmapText, data },
  };
}

export interface Change {
  readonly set: number;
  readonly clear: number;
}

function ask(before: number, option: readonly [asked: number, not: boolean] | undefined): number {
  if (option === undefined) return before;
  const [asked, not] = option;
  return not ? before & ~asked : before | asked;
}

/**
 * Attributes of a bind that may have others already. As mount(2) has it for `bind,remount`: access times stay as they
 * are unless one is asked for, which replaces all of them (`nodiratime` alone comes with relatime); what only says
 * `atime`, `norelatime`, `nostrictatime` or `diratime` takes back an earlier word of the options, and nothing of the source.
 */
export function bindAttributes({ set, clear, access }: MountOptions): Change {
  const rest = { set: set & ~ACCESS, clear: clear & ~ACCESS };
  if (access === 0) return rest;
  const times = (access & 4) !== 0 ? 0x20 : (access & 1) !== 0 ? 0x10 : 0;
  const directories = (access & 8) !== 0 ? NODIRATIME : 0;
  return {
    set: rest.set | times | directories,
    clear: rest.clear | ATIME | (NODIRATIME & ~directories),
  };
}

/** The later one wins. */
function change(before: Change, [set, clear]: readonly [number, number]): Change {
  return { set: (before.set & ~clear) | set, clear: (before.clear & ~set) | clear };
}

function splitOption(option: string): [string, string] {
  const at = option.indexOf('=');
  return at < 0 ? [option, ''] : [option.slice(0, at), option.slice(at + 1)];
}

/**
 * Driver `fuse-overlayfs`: as `overlay`, shown by a program in the place of the kernel, for file systems and kernels that
 * have no overlays. Every mount has a process of its own, which ends with it (native/served.h).
 */
import {
  accessSync,
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  type Dirent,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { RESERVED_IN_PATHS } from '../native/mount.ts';
import { openOverlayRoot } from '../native/overlay.ts';
import { getXattr, setTimeNs } from '../native/sys.ts';
import { fsPath, type ByteString } from '../src/base/byte-string.ts';
import { TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import type { Directory, EntryStat, Tree } from '../src/layer/tree.ts';
import { OPAQUE_NAME, OPAQUE_XATTR } from '../src/layer/whiteout.ts';
import { overlayDriver } from './overlay.ts';
import { makeProbeDirectories } from './probe-directories.ts';
import type { Snapshotter } from './snapshotter.ts';
import { createStackedSnapshotter, type DriverOptions } from './stacked.ts';

const PROGRAM = 'fuse-overlayfs';
const DEVICE = '/dev/fuse';
const DIRECTORIES = ['/usr/local/bin', '/usr/bin', '/bin'];

/** Throws KERNEL_UNSUPPORTED where something is missing, or the path cannot be told to the program. */
export function createFuseSnapshotter(options: DriverOptions): Snapshotter {
  const needs = needsOf(options.root);
  if ('lacks' in needs) throw new TsbuildError('KERNEL_UNSUPPORTED', needs.lacks, { hint: needs.hint });
  const overlay = overlayDriver(options, PROGRAM, needs.program);
  return createStackedSnapshotter(options, { ...overlay, settle });
}

type Needs = { readonly program: string } | { readonly lacks: string; readonly hint: string };

function needsOf(root: string): Needs {
  const program = findProgram();
  if (program === undefined)
    return { lacks: `there is no ${PROGRAM} in ${DIRECTORIES.join(', ')}`, hint: `install ${PROGRAM}` };
  if (!existsSync(DEVICE))
    return { lacks: `there is no ${DEVICE}`, hint: 'load the module fuse, or make the device (c 10 229)' };
  if (RESERVED_IN_PATHS.test(root))
    return {
      lacks: `${PROGRAM} takes no comma, colon or backslash in ${JSON.stringify(root)}`,
      hint: 'name another --root',
    };
  return { program };
}

function findProgram(): string | undefined {
  return DIRECTORIES.map((directory) => join(directory, PROGRAM)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Beside the attribute that says that a directory is opaque the program puts files that say the same to others. And
 * where it copies a file up it changes the time of the directory, which the kernel does not: the time is set back in
 * directories in which nothing came or went. And directories that it copies up lose bits of their modes.
 */
function settle(upper: string, below: Tree): void {
  const pending: ByteString[] = [''];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const at = fsPath(upper, path);
    const entries = readdirSync(at, { encoding: 'latin1', withFileTypes: true });
    const stat = lstatSync(at, { bigint: true });
    const { mtimeNs } = stat;
    const markers = entries.filter(isMarker);
    for (const { name } of markers) rmSync(fsPath(upper, `${path}/${name}`));
    const was = markers.length > 0 ? undefined : below.lstat(path);
    if (was?.type === 'directory' && hasLostBits(at, stat, was, entries.length > 0)) chmodSync(at, was.mode);
    const before = was?.type === 'directory' ? timeOfCopied(upper, path, entries, below, was) : undefined;
    if (markers.length > 0 || before !== undefined) setTimeNs(at, before ?? mtimeNs);
    for (const entry of entries) if (entry.isDirectory()) pending.push(`${path}/${entry.name}`);
  }
}

/** What mkdir(2), by which the program copies a directory up, does not give it. */
const LOST_BITS = 0o6000;

/**
 * Whether nothing but those bits is missing of the mode, in a directory that was copied up for another reason than a
 * change of them. Who changes the mode in another way sets all of it.
 */
function hasLostBits(at: string | Buffer, stat: BigIntStats, was: EntryStat, hasEntries: boolean): boolean {
  const mode = Number(stat.mode) & 0o7777;
  if ((was.mode & LOST_BITS) === 0 || mode !== (was.mode & ~LOST_BITS)) return false;
  const isChangedElse =
    Number(stat.uid) !== was.uid || Number(stat.gid) !== was.gid || stat.mtimeNs !== was.mtimeNs;
  return (hasEntries || isChangedElse) && getXattr(at, OPAQUE_XATTR) === undefined;
}

/** The time of a directory of which all that is above is copied from what is below; undefined: it has a time of its own. */
function timeOfCopied(
  upper: string,
  path: ByteString,
  entries: readonly Dirent[],
  below: Tree,
  was: EntryStat,
): bigint | undefined {
  if (entries.length === 0) return undefined;
  using holder = below.directory(path);
  return entries.every((entry) => isCopy(fsPath(upper, `${path}/${entry.name}`), entry, holder))
    ? was.mtimeNs
    : undefined;
}

/** The program notes of a file where it comes from. Directories that were made again are opaque. */
function isCopy(at: string | Buffer, entry: Dirent, holder: Directory): boolean {
  const was = holder.lstatIfExists(entry.name);
  if (entry.isFile()) return was?.type === 'file' && getXattr(at, ORIGIN_XATTR) !== undefined;
  return entry.isDirectory() && was?.type === 'directory' && getXattr(at, OPAQUE_XATTR) === undefined;
}

const ORIGIN_XATTR = 'user.fuseoverlayfs.origin';

function isMarker(entry: Dirent): boolean {
  return entry.name === OPAQUE_NAME || (entry.name === WHITEOUT_OF_OPAQUE && entry.isCharacterDevice());
}

/** A deletion of a name that nobody has. */
const WHITEOUT_OF_OPAQUE = '.wh..opq';

/** Tried: what is written, deleted and made again is found as it should be. undefined: it works. `root`: directory of all drivers. */
export function askFuse({ root, host }: { readonly root: string; readonly host: Host }): string | undefined {
  const needs = needsOf(root);
  if ('lacks' in needs) return needs.lacks;
  const probe = join(root, 'overlay', 'staging', host.unique());
  let fd: number | undefined;
  try {
    const { lower, upper, work } = makeProbeDirectories(probe);
    mkdirSync(join(lower, 'again'));
    writeFileSync(join(lower, 'seen'), '');
    fd = openOverlayRoot([lower], upper, work, needs.program);
    const root = `/proc/self/fd/${fd}`;
    writeFileSync(join(root, 'written'), PROGRAM);
    rmSync(join(root, 'seen'));
    rmdirSync(join(root, 'again'));
    mkdirSync(join(root, 'again'));
    if (readFileSync(join(upper, 'written'), 'utf8') !== PROGRAM) return 'what is written is not kept';
    // There are other ways to note these, which nothing else here reads.
    const isDevice = lstatSync(join(upper, 'seen'), { throwIfNoEntry: false })?.isCharacterDevice() === true;
    if (!isDevice) return 'there cannot be 0:0 devices, which stand for deletions';
    return getXattr(join(upper, 'again'), OPAQUE_XATTR) === undefined
      ? `there cannot be attributes ${OPAQUE_XATTR}`
      : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    if (fd !== undefined) closeSync(fd);
    rmSync(probe, { recursive: true, force: true });
  }
}

/**
 * From what a process changed to a layer tar.
 *
 * `packUpper` reads the upper directory of an overlay, which (with metacopy and redirect_dir off) is the change
 * itself; `packDifference` compares two trees. The same change gives the same bytes either way: an opaque
 * directory becomes deletions of what it hides, and what was copied up but is as it was does not count.
 *
 * Order is that of the stored names' bytes (directories carry their `/`), so parents come before what is in them.
 * The root itself is left out.
 */
import { compareBytes, toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import type { OnPacking } from './layer.ts';
import { findLinksLeftOut, hasLinks } from './link-groups.ts';
import { isUnchanged, isUntouched, sameMetadata, type Unchanged } from './pack-compare.ts';
import {
  directoryEntry,
  writeEntries,
  writeEntry,
  writeWhiteout,
  type EntryOutput,
  type EntryWriter,
} from './pack-entry.ts';
import type { TarEntry } from './tar-header.ts';
import type { Directory, EntryStat, Tree } from './tree.ts';
import { isOpaque, isWhiteout, OPAQUE_NAME, requireNoWhiteout, whiteoutName } from './whiteout.ts';

const YIELD_EVERY_MS = 20;

export interface PackOptions {
  /** Seconds; later mtimes are clamped. */
  readonly maxMtime?: number;
  readonly signal: AbortSignal;
  /** Milliseconds, monotonic or not; for giving way to the event loop. */
  readonly now: () => number;
  readonly onPacking?: OnPacking | undefined;
}

interface Packing extends PackOptions, EntryOutput, Unchanged {
  /** Whether the directories that are walked hold the change alone. */
  readonly isUpper: boolean;
  /** Whether it becomes a layer, in which some names mean deletions. */
  readonly isLayer?: boolean;
  /** Directories above what is being written that have no entry yet. */
  readonly pending: TarEntry[];
  rested: number;
  /** Paths of unchanged names of files with several; asked for where one is met. */
  readonly linksLeftOut?: () => Promise<ReadonlySet<ByteString>>;
}

type Out = { write(bytes: Uint8Array): void };

/** Packs an upper directory; `parent` is what lies below it. */
export async function packUpper(upper: Tree, parent: Tree, out: Out, options: PackOptions): Promise<void> {
  await packUpperInto(upper, parent, writeEntries(out, options.signal), options);
}

/** As `packUpper`, for whoever does something else with the entries than writing them. */
export async function packUpperInto(
  upper: Tree,
  parent: Tree,
  writer: EntryWriter,
  options: PackOptions,
): Promise<void> {
  await pack(upper, parent, { ...beginWith(writer, options), isUpper: true, isLayer: true });
}

/**
 * Packs what makes `after` out of `before`. Files of `after` whose ctime is earlier than `untouchedBeforeNs` (ns)
 * are known to be unchanged copies; others that look the same are compared by content.
 *
 * `isWhole` is false where names of one file are not linked in what the layer makes: of files that came to other paths
 * with a directory of theirs, without being touched, the names outside of it are left out, as with overlays, in which a
 * directory is not moved but copied.
 */
export async function packDifference(
  before: Tree,
  after: Tree,
  out: Out,
  options: PackOptions & Unchanged,
): Promise<{ readonly isWhole: boolean }> {
  const namesMissing = new Map<string, number>();
  await pack(after, before, { ...begin(out, options), isUpper: false, isLayer: true, namesMissing });
  return { isWhole: [...namesMissing.values()].every((count) => count === 0) };
}

/** Packs everything that is in a directory, which is the tar's root. */
export async function packWhole(directory: Directory, out: Out, options: PackOptions): Promise<void> {
  const packing = { ...begin(out, options), isUpper: false };
  await packDirectory(packing, directory, '', undefined, true);
  packing.writer.end();
}

/** Packs what `name` means in `holder`, a file or a directory with all that is in it, under the name `as`. */
export async function packEntry(
  holder: Directory,
  name: ByteString,
  as: ByteString,
  out: Out,
  options: PackOptions,
): Promise<void> {
  const packing = { ...begin(out, options), isUpper: false };
  const stat = holder.lstat(name);
  if (stat.type === 'directory') {
    using directory = holder.directory(name);
    packing.writer.entry(directoryEntry(packing, as, stat));
    await packDirectory(packing, directory, as, undefined, true);
  } else await writeEntry(packing, holder, name, as, stat);
  packing.writer.end();
}

function begin(out: Out, options: PackOptions & Unchanged): Omit<Packing, 'isUpper'> {
  return beginWith(writeEntries(out, options.signal), options);
}

function beginWith(writer: EntryWriter, options: PackOptions & Unchanged): Omit<Packing, 'isUpper'> {
  return { ...options, writer, links: new Map(), pending: [], rested: options.now() };
}

async function pack(changed: Tree, before: Tree, begun: Packing): Promise<void> {
  let linksLeftOut: Promise<ReadonlySet<ByteString>> | undefined;
  const pause = async (): Promise<void> => {
    if (isRestDue(packing)) await rest(packing);
  };
  const packing: Packing = {
    ...begun,
    linksLeftOut: () => (linksLeftOut ??= findLinksLeftOut({ ...begun, changed, before, pause })),
  };
  using directory = changed.directory('');
  using below = before.directory('');
  await packDirectory(packing, directory, '', below, !packing.isUpper);
  packing.writer.end();
}

/** Siblings in the order of their stored names. */
export function inStoredOrder<T extends { readonly name: ByteString; readonly isDirectory: boolean }>(
  items: T[],
): T[] {
  const key = (item: T): ByteString => (item.isDirectory ? `${item.name}/` : item.name);
  return items.sort((a, b) => compareBytes(key(a), key(b)));
}

interface Child {
  readonly name: ByteString;
  readonly isDirectory: boolean;
  /** undefined: deleted. */
  readonly stat: EntryStat | undefined;
}

/**
 * `below` is the same directory before the change, undefined where there was none. `isWhole`: what is in `below`
 * and not in `directory` is gone.
 */
async function packDirectory(
  packing: Packing,
  directory: Directory,
  path: ByteString,
  below: Directory | undefined,
  isWhole: boolean,
): Promise<void> {
  for (const { name, stat } of inStoredOrder(childrenOf(packing, directory, below, isWhole))) {
    const childPath = path === '' ? name : `${path}/${name}`;
    if (isRestDue(packing)) await rest(packing);
    if (stat !== undefined && packing.isLayer === true) requireNoDeletion(childPath, stat);
    if (stat === undefined) {
      writePending(packing);
      writeWhiteout(packing, childPath);
    } else if (stat.type === 'directory')
      await packChild(packing, directory, name, childPath, stat, below, isWhole);
    else if (stat.type !== 'socket') {
      const isLeftOut = isAsBefore(packing, directory, below, name, stat);
      if (isLeftOut ?? (await packing.linksLeftOut?.())?.has(childPath) ?? false) continue;
      writePending(packing);
      await writeEntry(packing, directory, name, childPath, stat);
    }
  }
}

/** undefined: nothing has changed, unless its links have. */
function isAsBefore(
  packing: Packing,
  directory: Directory,
  below: Directory | undefined,
  name: ByteString,
  stat: EntryStat,
): boolean | undefined {
  const was = below?.lstatIfExists(name);
  if (below === undefined || was === undefined) return false;
  if (!hasLinks(stat, was)) return isUnchanged(packing, directory, below, name, stat, was);
  if (!sameMetadata(was, stat)) return false;
  return isUntouched(packing, stat) ? true : undefined;
}

function childrenOf(
  packing: Packing,
  directory: Directory,
  below: Directory | undefined,
  isWhole: boolean,
): Child[] {
  const gone = new Set(isWhole ? below?.names() : undefined);
  const children: Child[] = [];
  for (const name of directory.names()) {
    // why: fuse-overlayfs puts it beside the attribute, and in a layer it can mean nothing else.
    if (packing.isUpper && name === OPAQUE_NAME) continue;
    const stat = directory.lstat(name);
    if (packing.isUpper && isWhiteout(stat)) {
      // why: a deletion of what only a mount point's stub was is none.
      if (below?.lstatIfExists(name) !== undefined) gone.add(name);
      continue;
    }
    gone.delete(name);
    children.push({ name, isDirectory: stat.type === 'directory', stat });
  }
  for (const name of gone) children.push({ name: whiteoutName(name), isDirectory: false, stat: undefined });
  return children;
}

/** Throws ARCHIVE_INVALID: what a process made means a deletion in a layer, or in the snapshot that one becomes. */
function requireNoDeletion(path: ByteString, stat: EntryStat): void {
  requireNoWhiteout(path);
  if (isWhiteout(stat))
    throw new TsbuildError(
      'ARCHIVE_INVALID',
      `${JSON.stringify(`/${toText(path)}`)} is a character device 0:0, which means a deletion in images`,
      { hint: 'remove it in the same step' },
    );
}

async function packChild(
  packing: Packing,
  holder: Directory,
  name: ByteString,
  path: ByteString,
  stat: EntryStat,
  holderBelow: Directory | undefined,
  isWhole: boolean,
): Promise<void> {
  const was = holderBelow?.lstatIfExists(name);
  using below = was?.type === 'directory' ? holderBelow?.directory(name) : undefined;
  using child = holder.directory(name);
  const hides = isWhole || (below !== undefined && isOpaque(holder, name));
  const entry = directoryEntry(packing, path, stat);
  packing.pending.push(entry);
  if (was === undefined || !sameMetadata(was, stat)) writePending(packing);
  await packDirectory(packing, child, path, below, hides);
  // What is still pending had nothing below it: a directory that is as it was.
  if (packing.pending.at(-1) === entry) packing.pending.pop();
}

function writePending(packing: Packing): void {
  for (const entry of packing.pending.splice(0)) packing.writer.entry(entry);
}

function isRestDue({ now, rested }: Packing): boolean {
  return now() - rested >= YIELD_EVERY_MS;
}

/** Gives way to the event loop, and notices an abort. */
async function rest(packing: Packing): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  packing.signal.throwIfAborted();
  packing.rested = packing.now();
}

/**
 * Which names of files with several names a layer need not have.
 *
 * A name that looks as before can be another file than before: `ln -f b a` joins files, `cp -a a t; mv t a` parts one
 * from its other names, and so does an overlay that copies one name up. Names are looked at by the inodes that they
 * share. Those of an inode go into the layer together as soon as one of them is new or changed, and as soon as they
 * were of an inode before that still shows elsewhere: what is left out is joined to its names again where the layer is
 * applied.
 *
 * All of it costs a walk, or two, which is taken only where a name of this kind is met.
 */
import type { ByteString } from '../base/byte-string.ts';
import { isUnchanged, type Unchanged } from './pack-compare.ts';
import type { Directory, EntryStat, Tree } from './tree.ts';
import { isOpaque, isWhiteout } from './whiteout.ts';

export interface ChangedTree extends Unchanged {
  readonly changed: Tree;
  /** What was there, or what lies below. */
  readonly before: Tree;
  /** Whether `changed` holds the change alone. */
  readonly isUpper: boolean;
  /** Gives way to the event loop now and then. */
  readonly pause: () => Promise<void>;
}

/** An inode after the change. */
interface Inode {
  readonly paths: ByteString[];
  /** The inodes that these were before; undefined: a name is new or changed. */
  readonly origins: Set<string | undefined>;
  readonly bornNs: bigint;
}

/** An inode before the change. */
interface Origin {
  readonly nlink: number;
  /** How many of its names the change has, as what they are now or as deleted. */
  met: number;
}

interface Met {
  readonly inodes: Map<string, Inode>;
  readonly origins: Map<string, Origin>;
}

/** Whether an unchanged name is left out or not is a question of its links. */
export function hasLinks(stat: EntryStat, was: EntryStat): boolean {
  return stat.nlink > 1 || was.nlink > 1;
}

/** Paths of names that `hasLinks` and the layer need not have. */
export async function findLinksLeftOut(tree: ChangedTree): Promise<ReadonlySet<ByteString>> {
  const met: Met = { inodes: new Map(), origins: new Map() };
  {
    using changed = tree.changed.directory('');
    using before = tree.before.directory('');
    await meet(tree, met, changed, before, '');
  }
  const alike = groupUnchanged(met);
  const shown = tree.isUpper ? await findShown(tree, met, alike) : new Set<string>();
  const leftOut = new Set<ByteString>();
  for (const [origin, inodes] of alike)
    if (!shown.has(origin)) for (const path of remaining(tree, inodes)?.paths ?? []) leftOut.add(path);
  return leftOut;
}

async function meet(
  tree: ChangedTree,
  met: Met,
  directory: Directory,
  below: Directory | undefined,
  path: ByteString,
): Promise<void> {
  await tree.pause();
  for (const name of directory.names()) {
    const stat = directory.lstat(name);
    const was = below?.lstatIfExists(name);
    if (stat.type === 'directory') {
      using child = directory.directory(name);
      using childBelow = was?.type === 'directory' ? below?.directory(name) : undefined;
      await meet(tree, met, child, childBelow, `${path}${name}/`);
      continue;
    }
    if (was !== undefined && was.type !== 'directory' && was.nlink > 1) meetOrigin(met, was);
    if (stat.type === 'socket' || (tree.isUpper && isWhiteout(stat))) continue;
    if (was === undefined ? stat.nlink === 1 : !hasLinks(stat, was)) continue;
    const isAsBefore =
      below !== undefined && was !== undefined && isUnchanged(tree, directory, below, name, stat, was);
    meetInode(met, stat, `${path}${name}`, isAsBefore ? inodeOf(was) : undefined);
  }
}

function meetOrigin({ origins }: Met, was: EntryStat): void {
  const key = inodeOf(was);
  const origin = origins.get(key);
  if (origin === undefined) origins.set(key, { nlink: was.nlink, met: 1 });
  else origin.met += 1;
}

function meetInode({ inodes }: Met, stat: EntryStat, path: ByteString, origin: string | undefined): void {
  const key = inodeOf(stat);
  const inode = inodes.get(key) ?? { paths: [], origins: new Set(), bornNs: stat.bornNs };
  inodes.set(key, inode);
  inode.paths.push(path);
  inode.origins.add(origin);
}

function inodeOf({ dev, ino }: EntryStat): string {
  return `${dev}:${ino}`;
}

/** Inodes all of whose names are as they were and were of one inode, by that. */
function groupUnchanged({ inodes }: Met): Map<string, Inode[]> {
  const groups = new Map<string, Inode[]>();
  for (const inode of inodes.values()) {
    const [origin] = inode.origins;
    if (origin === undefined || inode.origins.size > 1) continue;
    const group = groups.get(origin);
    if (group === undefined) groups.set(origin, [inode]);
    else group.push(inode);
  }
  return groups;
}

/** Of inodes that were one, that which the layer can leave out. */
function remaining({ untouchedBeforeNs }: Unchanged, inodes: readonly Inode[]): Inode | undefined {
  // why: an overlay has the others alone in its upper directory, and the layer is the same with every driver.
  const isOld = ({ bornNs }: Inode): boolean => untouchedBeforeNs !== undefined && bornNs < untouchedBeforeNs;
  return inodes.find(isOld) ?? inodes[0];
}

/** Of the inodes before those that still show under a name of which the upper directory has nothing. */
async function findShown(
  tree: ChangedTree,
  { origins }: Met,
  alike: ReadonlyMap<string, unknown>,
): Promise<ReadonlySet<string>> {
  const wanted = new Set<string>();
  for (const [key, { nlink, met }] of origins) if (alike.has(key) && met < nlink) wanted.add(key);
  const shown = new Set<string>();
  // why not all that have names left: links of a layer count too where another layer hides them.
  if (wanted.size === 0) return shown;
  using before = tree.before.directory('');
  using upper = tree.changed.directory('');
  await lookBelow(tree, before, upper, (key) => {
    if (wanted.delete(key)) shown.add(key);
    return wanted.size === 0;
  });
  return shown;
}

/** Calls `found` with files with several names that the upper directory does not hide, until it returns true. */
async function lookBelow(
  tree: ChangedTree,
  below: Directory,
  upper: Directory | undefined,
  found: (inode: string) => boolean,
): Promise<boolean> {
  await tree.pause();
  for (const name of below.names()) {
    const over = upper?.lstatIfExists(name);
    if (over !== undefined && over.type !== 'directory') continue;
    const stat = below.lstat(name);
    if (stat.type !== 'directory') {
      if (over === undefined && stat.nlink > 1 && found(inodeOf(stat))) return true;
      continue;
    }
    if (over !== undefined && upper !== undefined && isOpaque(upper, name)) continue;
    using child = below.directory(name);
    using childUpper = over === undefined ? undefined : upper?.directory(name);
    if (await lookBelow(tree, child, childUpper, found)) return true;
  }
  return false;
}

/** Gathering: what lies below the things that a COPY selected, with ignore patterns and --exclude applied. */
import { toByteString, type ByteString } from '../../../base/byte-string.ts';
import { describeFileSystem, type FileSystem } from '../../../layer/file-system.ts';
import type { IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import { encodeListed, type Listing } from '../../../layer/listing.ts';
import { CAPABILITY } from '../../../layer/pack-entry.ts';
import type { Tree } from '../../../layer/tree.ts';
import { deviceParts, walkTree, type Pruned } from '../../../layer/walk.ts';
import { gatheredOf, type Gathered } from './gathered.ts';
import { leaveOut, type Filter } from './leave-out.ts';
import { nameOf, parentOf, type Selected } from './selected.ts';

export interface GatherOptions extends Filter {
  /** Files of the context have no capabilities. */
  readonly isContext: boolean;
  readonly signal: AbortSignal;
}

/** In the order of `selection`. Throws CONTEXT_INVALID where files change meanwhile. */
export async function gather(
  tree: Tree,
  selection: readonly Selected[],
  options: GatherOptions,
): Promise<readonly Gathered[]> {
  const directories = selection.filter(({ stat }) => stat.type === 'directory');
  const listings = await walkTree(
    tree,
    directories.map(({ path, asked }) => ({ path, pruned: prunedBelow(asked, options) })),
    { capabilities: !options.isContext, signal: options.signal },
  );
  const walked = new Map(directories.map((selected, index) => [selected, listings[index]]));
  const single = createSingles(tree, options);
  return selection.map((selected) => {
    const listing = walked.get(selected);
    if (listing === undefined) return gatheredOf(selected, single(selected));
    leaveOut(listing, selected.asked, options);
    return gatheredOf(selected, listing);
  });
}

/** From what was selected on. */
function prunedBelow(asked: ByteString, { ignore, exclude }: Filter): readonly Pruned[] {
  return [...prunedOf(ignore, asked), ...prunedOf(exclude, '')];
}

function prunedOf(matcher: IgnoreMatcher | undefined, asked: ByteString): readonly Pruned[] {
  const before = asked === '' ? '' : `${asked}/`;
  const pruned: Pruned[] = [];
  for (const { path, anywhere, below } of matcher?.pruned ?? []) {
    const bytes = toByteString(path);
    // What was selected lies in such a directory, or is one.
    if (below && (anywhere ? asked.split('/').includes(bytes) : bytes === asked))
      pruned.push({ path: '', anywhere: false, below });
    else if (anywhere) pruned.push({ path: bytes, anywhere, below });
    else if (bytes.startsWith(before)) pruned.push({ path: bytes.slice(before.length), anywhere, below });
  }
  return pruned;
}

/** Listings of things that are no directories. */
function createSingles(tree: Tree, { isContext }: GatherOptions): (selected: Selected) => Listing {
  const known = new Map<number, FileSystem>();
  return ({ path, stat }) => {
    using directory = tree.directory(parentOf(path));
    const name = nameOf(path);
    const fileSystem =
      known.get(stat.dev) ?? describeFileSystem(directory.descriptor ?? -1, ...deviceParts(stat.dev));
    known.set(stat.dev, fileSystem);
    const capability = stat.type === 'file' && !isContext ? directory.xattr(name, CAPABILITY) : undefined;
    const link = stat.type === 'symlink' ? directory.readlink(name) : '';
    return {
      entries: 1,
      segments: [encodeListed({ depth: 0, name, stat, link, capability, fileSystem: 0 })],
      fileSystems: [fileSystem],
    };
  };
}

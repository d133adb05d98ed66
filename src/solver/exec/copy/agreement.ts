/** Whether a tree can be put over what an image has without a file meeting a directory. */
import { LISTED_DIRECTORY, ListingCursor } from '../../../layer/listing.ts';
import type { ByteString } from '../../../base/byte-string.ts';
import type { Directory, Tree } from '../../../layer/tree.ts';
import type { PlannedTree } from './planned.ts';

interface Level {
  readonly directory: Directory;
  readonly names: ReadonlySet<ByteString>;
}

/** Looks into those directories of `parent` alone that the tree has too. */
export function agreesWith(parent: Tree, { target, gathered }: PlannedTree): boolean {
  if (parent.lstat(target)?.type !== 'directory') return true;
  /** By depth, the image's directory that entries of that depth come into; undefined: it has none. */
  const levels: (Level | undefined)[] = [open(parent.directory(target))];
  const close = (from: number): void => {
    for (const level of levels.splice(from)) level?.directory[Symbol.dispose]();
  };
  try {
    const cursor = new ListingCursor(gathered.listing);
    while (cursor.next()) {
      const { depth } = cursor;
      const isDirectory = cursor.type === LISTED_DIRECTORY;
      if (isDirectory) close(depth + 1);
      const level = levels[depth];
      if (level === undefined) continue;
      const name = cursor.name;
      if (!level.names.has(name)) continue;
      const { type } = level.directory.lstat(name);
      if ((type === 'directory') !== isDirectory) return false;
      if (isDirectory) levels[depth + 1] = open(level.directory.directory(name));
    }
    return true;
  } finally {
    close(0);
  }
}

function open(directory: Directory): Level {
  return { directory, names: new Set(directory.names()) };
}

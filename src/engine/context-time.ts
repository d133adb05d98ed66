/** SOURCE_DATE_EPOCH=context: the newest file of a build context that was fetched. */
import type { ByteString } from '../base/byte-string.ts';
import type { Directory, Tree } from '../layer/tree.ts';

/** More than any file system lets a path be long. */
const MAX_DEPTH = 4096;

/** Seconds since the epoch; undefined where there are no files. Of a repository it is the time of the commit. */
export function newestTime(tree: Tree): number | undefined {
  let newest: bigint | undefined;
  const see = (directory: Directory, depth: number): void => {
    for (const name of directory.names()) {
      const { type, mtimeNs } = directory.lstat(name);
      if (type === 'directory') {
        if (depth < MAX_DEPTH) seeInside(directory, name, depth + 1);
      } else if (newest === undefined || mtimeNs > newest) newest = mtimeNs;
    }
  };
  const seeInside = (directory: Directory, name: ByteString, depth: number): void => {
    using inner = directory.directory(name);
    see(inner, depth);
  };
  using root = tree.directory('');
  see(root, 0);
  return newest === undefined ? undefined : Number(newest / 1_000_000_000n);
}

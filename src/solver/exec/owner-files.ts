/** An image's own passwd and group: hostile files, read inside their root and bounded in size. */
import { toText } from '../../base/byte-string.ts';
import type { Tree } from '../../layer/tree.ts';

/** Beyond this a passwd is no passwd; docker-library's largest has 2 KB. */
const MAX_SIZE = 1 << 20;

export interface OwnerFiles {
  readonly passwd?: string;
  readonly group?: string;
}

export function readOwnerFiles(tree: Tree): OwnerFiles {
  const passwd = readText(tree, 'etc/passwd');
  const group = readText(tree, 'etc/group');
  return { ...(passwd === undefined ? {} : { passwd }), ...(group === undefined ? {} : { group }) };
}

function readText(tree: Tree, path: string): string | undefined {
  const bytes = tree.readFile(path, MAX_SIZE);
  return bytes === undefined ? undefined : toText(Buffer.from(bytes).toString('latin1'));
}

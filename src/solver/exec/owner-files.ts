/** An image's own passwd and group: hostile files, read inside their root and bounded in size. */
import { toText } from '../../base/byte-string.ts';
import type { Tree } from '../../layer/tree.ts';

/** Beyond this a passwd is no passwd; docker-library's largest has 2 KB. */
const MAX_SIZE = 1 << 20;

/** Where it all lies. */
export const OWNERS_DIRECTORY = 'etc';

export interface OwnerFiles {
  readonly passwd?: string;
  readonly group?: string;
}

export function readOwnerFiles(tree: Tree): OwnerFiles {
  const passwd = readText(tree, 'etc/passwd');
  const group = readText(tree, 'etc/group');
  return { ...(passwd === undefined ? {} : { passwd }), ...(group === undefined ? {} : { group }) };
}

/** Whether they change only where something in OWNERS_DIRECTORY does: no link leads elsewhere. */
export function areOwnersPlain(tree: Tree): boolean {
  const paths = [OWNERS_DIRECTORY, 'etc/passwd', 'etc/group'];
  return paths.every((path) => tree.lstat(path)?.type !== 'symlink');
}

function readText(tree: Tree, path: string): string | undefined {
  const bytes = tree.readFile(path, MAX_SIZE);
  return bytes === undefined ? undefined : toText(Buffer.from(bytes).toString('latin1'));
}

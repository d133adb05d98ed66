/** Entries of a planned layer, and where their bytes come from. */
import type { ByteString } from '../../../base/byte-string.ts';
import {
  LISTED_BLOCK,
  LISTED_CHAR,
  LISTED_FILE,
  LISTED_SOCKET,
  LISTED_SYMLINK,
  ListingCursor,
  typeName,
} from '../../../layer/listing.ts';
import type { EntryType, Tree } from '../../../layer/tree.ts';
import type { Ownership } from '../../../oci/user.ts';
import { prefixOf, type Gathered } from './gathered.ts';
import { nameOf, parentOf } from './selected.ts';

/** A file of a source, which must be as it was listed when it is read. */
export interface FileContent {
  readonly kind: 'file';
  readonly tree: Tree;
  readonly path: ByteString;
  readonly gathered: Gathered;
  /** Where its record begins in the listing, and its number there. */
  readonly at: number;
  readonly file: number;
}

export type Content =
  | FileContent
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** Part of an open file. */
  | { readonly kind: 'range'; readonly fd: number; readonly offset: number }
  | { readonly kind: 'path'; readonly path: string };

export interface Planned {
  readonly type: Exclude<EntryType, 'socket'> | 'hardlink';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds. */
  readonly mtime: number;
  readonly size?: number;
  readonly link?: ByteString;
  readonly major?: number;
  readonly minor?: number;
  readonly capability?: Uint8Array;
  readonly content?: Content;
  /** Entries with the same one are hard links of each other. */
  readonly inode?: string;
}

/** How directories look that nothing gives a look. */
export interface Created {
  readonly owner: Ownership;
  readonly mode: number;
  readonly mtime: number;
}

/** All that was gathered of one selected thing, on its way to `target`. */
export interface PlannedTree {
  /** A directory: its entries come into it. Anything else: its own path. */
  readonly target: ByteString;
  readonly source: Tree;
  readonly gathered: Gathered;
  /** undefined: as the source has it. */
  readonly owner: Ownership | undefined;
  readonly modeOf: (mode: number, type: EntryType) => number;
  /** What `modeOf` does to all but symlinks: leaves them their modes, gives all the same, or looks at each. */
  readonly modes: number | 'kept' | 'computed';
  readonly created: Created;
}

/** An image cannot hold a socket; docker leaves an empty file in its place. */
export const SOCKET_MODE = 0o755;

/** The current entry of a cursor over the tree's listing, `path` being where it lies in the source. */
export function plannedOf(tree: PlannedTree, cursor: ListingCursor): Planned {
  const { owner, modeOf } = tree;
  const type = typeName(cursor.type);
  const { uid, gid } = owner ?? cursor;
  const common = { uid, gid, mode: modeOf(cursor.mode, type), mtime: cursor.mtime };
  switch (cursor.type) {
    case LISTED_CHAR:
    case LISTED_BLOCK:
      return {
        ...common,
        type: type === 'char' ? 'char' : 'block',
        major: cursor.major,
        minor: cursor.minor,
      };
    case LISTED_SYMLINK:
      return { ...common, type: 'symlink', link: cursor.link };
    case LISTED_SOCKET:
      return { ...common, type: 'file', mode: SOCKET_MODE, size: 0 };
    case LISTED_FILE:
      return { ...common, type: 'file', size: cursor.size, ...fileOf(tree, cursor) };
    default:
      return { ...common, type: type === 'directory' ? 'directory' : 'fifo' };
  }
}

function fileOf(
  { source, gathered }: PlannedTree,
  cursor: ListingCursor,
): Pick<Planned, 'content' | 'inode' | 'capability'> {
  const { capability } = cursor;
  const path = prefixOf(gathered) + cursor.pathText();
  return {
    content: { kind: 'file', tree: source, path, gathered, at: cursor.at, file: cursor.file },
    ...(cursor.nlink > 1 ? { inode: inodeOf(gathered, cursor) } : {}),
    ...(capability === undefined ? {} : { capability: Uint8Array.from(capability) }),
  };
}

/** Hard links are kept within one source argument. */
export function inodeOf({ selected }: Gathered, cursor: ListingCursor): string {
  return `${selected.argument}:${cursor.inode}`;
}

/** Directory and name of a file's path. */
export function placeOf({ path }: FileContent): {
  readonly directory: ByteString;
  readonly name: ByteString;
} {
  return { directory: parentOf(path), name: nameOf(path) };
}

/** The record of a file's listing. */
export function recordOf({ gathered, at }: FileContent): ListingCursor {
  const cursor = new ListingCursor(gathered.listing);
  cursor.at = at;
  return cursor;
}

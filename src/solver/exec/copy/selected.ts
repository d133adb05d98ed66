/** What a COPY selected: plain data between selection, walking, digesting and placing. */
import type { ByteString } from '../../../base/byte-string.ts';
import type { EntryStat } from '../../../layer/tree.ts';

/** One thing that a pattern named: a file, or a directory whose content is meant. */
export interface Selected {
  /** Canonical path in the tree, `''` for its root. */
  readonly path: ByteString;
  /** Path as asked for, for ignore patterns and for --parents. */
  readonly asked: ByteString;
  readonly stat: EntryStat;
  /** Which source argument it belongs to: hard links are kept within one. */
  readonly argument: number;
  /** --parents: how much of `asked` is cut away (the pivot `/./`). */
  readonly pivot: ByteString;
}

export function joinPath(directory: ByteString, name: ByteString): ByteString {
  if (name === '') return directory;
  return directory === '' ? name : `${directory}/${name}`;
}

export function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export function nameOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1);
}

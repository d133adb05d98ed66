/**
 * What a COPY's layer will hold: entries by path, merged with what is in the parent already.
 *
 * Paths are canonical in the parent (symlinks of the destination were resolved before). Every change brings its
 * parent directories, with the attributes that they have in the parent, so that a layer stands for itself.
 */
import { toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import { compareBytes } from '../../../base/byte-string.ts';
import type { EntryStat, EntryType, Tree } from '../../../layer/tree.ts';
import type { Ownership } from '../../../oci/user.ts';

/** Where an entry's bytes come from. */
export type Content =
  | {
      readonly kind: 'tree';
      readonly tree: Tree;
      readonly directory: ByteString;
      readonly name: ByteString;
      /** Of the file when it was planned. */
      readonly ctimeNs: bigint;
    }
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

export interface Created {
  readonly owner: Ownership;
  readonly mode: number;
  readonly mtime: number;
}

export interface LayerPlan {
  /** What is at a path once the plan is carried out. */
  typeAt(path: ByteString): EntryType | undefined;
  statAt(path: ByteString): Pick<EntryStat, 'type' | 'mode' | 'uid' | 'gid'> | undefined;
  linkAt(path: ByteString): ByteString | undefined;
  /** The entry of the plan itself. */
  plannedAt(path: ByteString): Planned | undefined;
  /** Adds or merges a directory. Throws COPY_DESTINATION_INVALID over something else. */
  putDirectory(path: ByteString, entry: Planned): void;
  /** Adds anything else, over whatever is there but a directory. */
  put(path: ByteString, entry: Planned): void;
  /** As `put`, also over a directory, which goes with all that is in it (archives). */
  replace(path: ByteString, entry: Planned): void;
  /** Makes the directories above (and with `self` at) a path; those that are missing look like `created`. */
  ensureDirectories(path: ByteString, created: Created, self: boolean): void;
  /** In the order of their stored names. */
  sorted(): readonly (readonly [ByteString, Planned])[];
}

export function createLayerPlan(parent: Tree): LayerPlan {
  const entries = new Map<ByteString, Planned>();

  function statAt(path: ByteString): Pick<EntryStat, 'type' | 'mode' | 'uid' | 'gid'> | undefined {
    const planned = entries.get(path);
    if (planned === undefined) return path === '' ? parent.stat('') : parent.lstat(path);
    return { ...planned, type: planned.type === 'hardlink' ? 'file' : planned.type };
  }

  const known = new Set<ByteString>();

  function ensureOne(path: ByteString, created: Created): void {
    if (path === '' || known.has(path)) return;
    const planned = entries.get(path);
    if (planned !== undefined) {
      if (planned.type !== 'directory') throw notDirectory(path);
      known.add(path);
      return;
    }
    const there = parent.lstat(path);
    if (there !== undefined && there.type !== 'directory') throw notDirectory(path);
    const { uid, gid, mode } = there ?? { ...created.owner, mode: created.mode };
    const mtime = there === undefined ? created.mtime : Number(there.mtimeNs / 1_000_000_000n);
    entries.set(path, { type: 'directory', mode, uid, gid, mtime });
    known.add(path);
  }

  function ensureDirectories(path: ByteString, created: Created, self: boolean): void {
    const slash = path.lastIndexOf('/');
    if (slash > 0 && !known.has(path.slice(0, slash))) ensureDirectories(path.slice(0, slash), created, true);
    if (self) ensureOne(path, created);
  }

  function replace(path: ByteString, entry: Planned): void {
    if (entries.get(path)?.type === 'directory') {
      for (const other of [...entries.keys()]) if (other.startsWith(`${path}/`)) entries.delete(other);
      for (const other of [...known]) if (other === path || other.startsWith(`${path}/`)) known.delete(other);
    }
    entries.set(path, entry);
  }

  return {
    statAt,
    plannedAt: (path) => entries.get(path),
    typeAt: (path) => statAt(path)?.type,
    linkAt: (path) =>
      entries.get(path)?.link ?? (parent.lstat(path)?.type === 'symlink' ? parent.readlink(path) : undefined),
    putDirectory(path, entry) {
      const there = statAt(path);
      if (there !== undefined && there.type !== 'directory')
        throw new TsbuildError(
          'COPY_DESTINATION_INVALID',
          `cannot copy a directory to ${show(path)}: there is a ${nameOf(there.type)}`,
          { hint: INSTEAD },
        );
      if (path !== '') entries.set(path, entry);
    },
    put(path, entry) {
      if (statAt(path)?.type === 'directory')
        throw new TsbuildError(
          'COPY_DESTINATION_INVALID',
          `cannot replace the directory ${show(path)} with a file`,
          { hint: INSTEAD },
        );
      entries.set(path, entry);
    },
    replace,
    ensureDirectories,
    sorted() {
      const key = ([path, { type }]: readonly [ByteString, Planned]): ByteString =>
        type === 'directory' ? `${path}/` : path;
      return [...entries].sort((a, b) => compareBytes(key(a), key(b)));
    },
  };
}

const INSTEAD = 'choose another path, or remove what is there with RUN rm before';

function nameOf(type: EntryType): string {
  return type === 'symlink' ? 'symbolic link' : type;
}

function show(path: ByteString): string {
  return JSON.stringify(`/${toText(path)}`);
}

function notDirectory(path: ByteString): TsbuildError {
  return new TsbuildError('COPY_DESTINATION_INVALID', `${show(path)} is not a directory in the image`, {
    hint: INSTEAD,
  });
}

/** A file of the context is being edited while it is copied: its layer would not be what its key says. */
export function changed(name: ByteString): TsbuildError {
  return new TsbuildError('CONTEXT_INVALID', `${JSON.stringify(toText(name))} changed while it was copied`, {
    hint: 'run the same command again when the files are still',
  });
}

/**
 * A new directory that is what a cache mount was elsewhere: files that lie here already get a second name, what else
 * is known here is copied, the rest is asked for. Nobody sees it before it is complete.
 *
 * Everything is made in a directory of our own, and nothing in it is a symlink unless it is a last name; of the old
 * directory, in which containers wrote, files alone are opened, beneath it.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  symlinkSync,
  writeSync,
  lstatSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { setTimeNs } from '../../../../native/sys.ts';
import { fsPath, type ByteString } from '../../../base/byte-string.ts';
import { ioError } from '../../../base/errors.ts';
import { openDirectoryTree } from '../../../layer/open-tree.ts';
import { MAX_CHUNK } from './chunker.ts';
import type { MountEntry, MountFile, PlacedChunk } from './mount-index.ts';
import { createOpener, keyOfStat, type KnownFile, type Opener, type ScannedEntry } from './scan.ts';

export interface RestoreInput {
  /** The directory as it is; undefined: there is none. */
  readonly old: { readonly directory: string; readonly entries: readonly ScannedEntry[] } | undefined;
  readonly entries: readonly MountEntry[];
  /** The new directory; made here, empty. */
  readonly target: string;
  /** Asks for chunks, each once. */
  readonly fetch: (
    chunks: readonly PlacedChunk[],
    onChunk: (chunk: PlacedChunk, bytes: Uint8Array) => void,
  ) => Promise<void>;
}

/** Where a chunk goes. */
interface Place {
  readonly path: string | Buffer;
  readonly offset: number;
}

export async function restoreTree(input: RestoreInput): Promise<void> {
  const { old, entries, target } = input;
  const at = (path: ByteString): string | Buffer => fsPath(`${target}/`, path);
  const wanted = new Map<string, { readonly chunk: PlacedChunk; readonly places: Place[] }>();
  const made: MountEntry[] = [];
  try {
    if (old === undefined) makeAll(entries, undefined, undefined);
    else {
      using tree = openDirectoryTree(old.directory);
      using opener = createOpener(tree);
      const known = indexOf(old.entries);
      makeAll(entries, opener, known);
      for (const [digest, { chunk, places }] of wanted) {
        const bytes = readKnown(opener, known.chunks.get(digest), chunk);
        if (bytes === undefined) continue;
        for (const place of places) writeAt(place, bytes);
        wanted.delete(digest);
      }
    }
    await input.fetch(
      [...wanted.values()].map(({ chunk }) => chunk),
      ({ digest }, bytes) => {
        for (const place of wanted.get(digest)?.places ?? []) writeAt(place, bytes);
      },
    );
    // Directories last and from below: what is made in one changes its time.
    for (const entry of made.reverse()) setAttributes(at(entry.path), entry);
  } catch (error) {
    throw ioError('restore a cache mount', error);
  }

  function makeAll(all: readonly MountEntry[], opener: Opener | undefined, known: Known | undefined): void {
    for (const entry of all) {
      const path = at(entry.path);
      switch (entry.kind) {
        case 'directory':
          mkdirSync(path, { mode: 0o700 });
          break;
        case 'symlink':
          symlinkSync(fsPath('', entry.target), path);
          break;
        case 'link':
          linkSync(at(entry.target), path);
          continue;
        case 'file':
          if (
            opener !== undefined &&
            isSame(known?.files.get(entry.path), entry) &&
            linked(opener, entry.path, path)
          )
            continue;
          makeFile(path, entry);
      }
      made.push(entry);
    }
  }

  function makeFile(path: string | Buffer, { size, chunks }: MountFile): void {
    const fd = openSync(path, 'wx', 0o600);
    try {
      ftruncateSync(fd, size);
    } finally {
      closeSync(fd);
    }
    let offset = 0;
    for (const chunk of chunks) {
      const found = wanted.get(chunk.digest) ?? { chunk, places: [] };
      found.places.push({ path, offset });
      wanted.set(chunk.digest, found);
      offset += chunk.size;
    }
  }
}

interface Known {
  readonly files: ReadonlyMap<ByteString, Extract<ScannedEntry, { kind: 'file' }>>;
  readonly chunks: ReadonlyMap<string, { readonly path: ByteString; readonly offset: number }>;
}

function indexOf(entries: readonly ScannedEntry[]): Known {
  const files = new Map<ByteString, Extract<ScannedEntry, { kind: 'file' }>>();
  const chunks = new Map<string, { readonly path: ByteString; readonly offset: number }>();
  for (const entry of entries) {
    if (entry.kind !== 'file') continue;
    files.set(entry.path, entry);
    let offset = 0;
    for (const { digest, size } of entry.chunks) {
      if (!chunks.has(digest)) chunks.set(digest, { path: entry.path, offset });
      offset += size;
    }
  }
  return { files, chunks };
}

function isSame(a: Extract<ScannedEntry, { kind: 'file' }> | undefined, b: MountFile): boolean {
  return (
    a !== undefined &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtimeNs === b.mtimeNs &&
    a.size === b.size &&
    a.chunks.length === b.chunks.length &&
    a.chunks.every(({ digest }, index) => digest === b.chunks[index]?.digest)
  );
}

/** A second name for a file of the old directory; false where it is there no more. */
function linked(opener: Opener, path: ByteString, to: string | Buffer): boolean {
  const found = opener.holder(path);
  const descriptor = found?.directory.descriptor;
  if (found === undefined || descriptor === undefined) return false;
  try {
    linkSync(fsPath(`/proc/self/fd/${descriptor}/`, found.name), to);
    return true;
  } catch {
    return false;
  }
}

function readKnown(
  opener: Opener,
  place: { readonly path: ByteString; readonly offset: number } | undefined,
  { digest, size }: PlacedChunk,
): Uint8Array | undefined {
  const fd = place === undefined ? undefined : opener.open(place.path);
  if (fd === undefined || place === undefined) return undefined;
  try {
    const bytes = Buffer.alloc(size);
    let at = 0;
    for (let got = -1; got !== 0 && at < size; at += got)
      got = readSync(fd, bytes, at, size - at, place.offset + at);
    return createHash('sha256').update(bytes).digest('base64') === digest ? bytes : undefined;
  } finally {
    closeSync(fd);
  }
}

const ZEROS = Buffer.alloc(MAX_CHUNK);

/** The file is as large as it becomes, and holds zeros where nothing was written. */
function writeAt({ path, offset }: Place, bytes: Uint8Array): void {
  if (ZEROS.subarray(0, bytes.byteLength).equals(bytes)) return;
  const fd = openSync(path, 'r+');
  try {
    for (let at = 0; at < bytes.byteLength; )
      at += writeSync(fd, bytes, at, bytes.byteLength - at, offset + at);
  } finally {
    closeSync(fd);
  }
}

function setAttributes(path: string | Buffer, entry: MountEntry): void {
  if (entry.kind === 'link') return;
  if (entry.kind === 'symlink') lchownSync(path, entry.uid, entry.gid);
  else {
    chownSync(path, entry.uid, entry.gid);
    chmodSync(path, entry.mode);
  }
  setTimeNs(path, entry.mtimeNs);
}

/** What a directory that `restoreTree` made is like, so that its files need not be read to know them. */
export function filesOf(
  directory: string,
  entries: readonly MountEntry[],
): ReadonlyMap<ByteString, KnownFile> {
  const files = new Map<ByteString, KnownFile>();
  for (const entry of entries) {
    if (entry.kind !== 'file') continue;
    const stat = lstatSync(fsPath(`${directory}/`, entry.path), { bigint: true });
    files.set(entry.path, { key: keyOfStat(stat), chunks: entry.chunks });
  }
  return files;
}

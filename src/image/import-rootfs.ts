/**
 * `tsbuild import`: a tar of a root file system becomes an image of one layer.
 *
 * The layer is written anew: sorted, clean names, whole seconds, so that the same files give the same layer. File
 * contents pass through a spool on disk, since a tar is not sorted; memory holds names and headers alone.
 */
import { ftruncateSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { compareBytes, toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import { layerEntryOf } from '../layer/archive-entry.ts';
import { decompress } from '../layer/decompress.ts';
import { openSpool, writeSpool } from '../layer/spool.ts';
import { requireSpace } from '../layer/free-space.ts';
import type { Layer, LayerStore } from '../layer/layer.ts';
import type { TarEntry } from '../layer/tar-header.ts';
import { readTar } from '../layer/tar-reader.ts';
import { createTarWriter, type TarWriter } from '../layer/tar-writer.ts';

interface Kept {
  readonly entry: TarEntry;
  readonly offset: number;
}

export interface NormaliseOptions {
  /** A path for a new temporary file. */
  readonly spool: string;
  readonly signal: AbortSignal;
  /** Called with the bytes read so far. */
  readonly onProgress?: (current: number) => void;
}

/** Throws ARCHIVE_INVALID, DISK_FULL. */
export async function normaliseLayer(
  source: AsyncIterable<Uint8Array>,
  layers: LayerStore,
  options: NormaliseOptions,
): Promise<Layer> {
  using spool = openSpool(options.spool);
  const kept = await collect(source, spool.fd, options);
  if (kept.size === 0) throw new TsbuildError('ARCHIVE_INVALID', 'the archive holds no files');
  using writer = layers.create();
  await writeSorted(kept, spool.fd, createTarWriter(writer), options.signal);
  return writer.commit();
}

async function collect(
  source: AsyncIterable<Uint8Array>,
  fd: number,
  { spool, signal, onProgress }: NormaliseOptions,
): Promise<ReadonlyMap<ByteString, Kept>> {
  const kept = new Map<ByteString, Kept>();
  let offset = 0;
  for await (const { entry, bytes, pieces } of readTar(decompress(counted(source, onProgress)))) {
    signal.throwIfAborted();
    if (entry.path === '') continue;
    kept.set(entry.path, { entry: layerEntryOf(entry), offset });
    if (entry.type !== 'file') continue;
    requireSpace(dirname(spool), entry.size);
    if (bytes !== undefined) writeSpool(fd, bytes, offset);
    else
      for await (const piece of pieces()) {
        signal.throwIfAborted();
        writeSpool(fd, piece.bytes, offset + piece.offset);
      }
    offset += entry.size;
  }
  ftruncateSync(fd, offset);
  return kept;
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  onProgress: ((current: number) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  for await (const chunk of source) {
    current += chunk.byteLength;
    onProgress?.(current);
    yield chunk;
  }
}

async function writeSorted(
  kept: ReadonlyMap<ByteString, Kept>,
  fd: number,
  writer: TarWriter,
  signal: AbortSignal,
): Promise<void> {
  const withParents = addParents(kept);
  const key = ({ entry }: Kept): ByteString => (entry.type === 'directory' ? `${entry.path}/` : entry.path);
  const sorted = [...withParents.values()].sort((a, b) => compareBytes(key(a), key(b)));
  const groups = linkGroups(kept);
  const written = new Map<ByteString, ByteString>();
  let count = 0;
  for (const each of sorted) {
    count += 1;
    if (count % 512 === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    const original = groups.get(each.entry.path);
    const first = original === undefined ? undefined : written.get(original);
    if (original !== undefined && first === undefined) written.set(original, each.entry.path);
    if (first !== undefined) writer.entry({ ...each.entry, type: 'hardlink', size: 0, linkname: first });
    else
      writeOne(
        writer,
        fd,
        original === undefined
          ? each
          : {
              ...(kept.get(original) ?? each),
              entry: { ...(kept.get(original)?.entry ?? each.entry), path: each.entry.path },
            },
      );
  }
  writer.end();
}

/** Directories that the archive only implies. */
function addParents(kept: ReadonlyMap<ByteString, Kept>): ReadonlyMap<ByteString, Kept> {
  const all = new Map(kept);
  for (const path of kept.keys())
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash);
      if (all.has(parent)) break;
      all.set(parent, {
        entry: { path: parent, type: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0 },
        offset: 0,
      });
    }
  return all;
}

/** Path to the path of the file that it is a name of; only for files with several names. */
function linkGroups(kept: ReadonlyMap<ByteString, Kept>): ReadonlyMap<ByteString, ByteString> {
  const groups = new Map<ByteString, ByteString>();
  for (const { entry } of kept.values()) {
    if (entry.type !== 'hardlink') continue;
    let target = entry.linkname ?? '';
    for (let hops = 0; kept.get(target)?.entry.type === 'hardlink' && hops < 1000; hops += 1)
      target = kept.get(target)?.entry.linkname ?? '';
    const file = kept.get(target)?.entry;
    if (file === undefined || file.type === 'directory' || file.type === 'hardlink')
      throw new TsbuildError(
        'ARCHIVE_INVALID',
        `${JSON.stringify(toText(entry.path))} is a hard link to ${JSON.stringify(toText(entry.linkname ?? ''))}, which is not in the archive`,
      );
    groups.set(entry.path, target);
    groups.set(target, target);
  }
  return groups;
}

const buffer = Buffer.allocUnsafe(1 << 20);

function writeOne(writer: TarWriter, fd: number, { entry, offset }: Kept): void {
  writer.entry(entry);
  for (let done = 0; done < entry.size; ) {
    const n = readSync(fd, buffer, 0, Math.min(buffer.byteLength, entry.size - done), offset + done);
    if (n === 0) throw new TsbuildError('IO_FAILED', 'the temporary file is shorter than it was');
    writer.content(buffer.subarray(0, n));
    done += n;
  }
}

/**
 * ADD of an archive: recognised by content, read once into a spool of bodies and a list of entries, because a
 * layer is sorted and an archive is not.
 */
import { ftruncateSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { readDescriptor } from '../../../base/read-descriptor.ts';
import { layerEntryOf } from '../../../layer/archive-entry.ts';
import { decompress, decompressedHead } from '../../../layer/decompress.ts';
import { requireSpace } from '../../../layer/free-space.ts';
import { openSpool, writeSpool } from '../../../layer/spool.ts';
import { looksLikeTar, readTar } from '../../../layer/tar-reader.ts';
import { BLOCK, type TarEntry } from '../../../layer/tar-header.ts';

export interface ArchiveEntry {
  readonly entry: TarEntry;
  /** Where its content begins in the spool. */
  readonly offset: number;
}

export interface Archive extends Disposable {
  readonly entries: readonly ArchiveEntry[];
  /** Descriptor of the spool. */
  readonly fd: number;
}

/** Whether a file begins as a tar does, compressed or not. Where the rest is damaged, reading it says so. */
export async function isArchive(fd: number): Promise<boolean> {
  const head = Buffer.alloc(8);
  if (readSync(fd, head, 0, 8, 0) === 0) return false;
  return looksLikeTar(await decompressedHead(readDescriptor(fd), BLOCK));
}

/** Reads the archive in `fd`; bodies go to the new file `spool`, which goes away with the result. */
export async function readArchive(fd: number, spool: string, signal: AbortSignal): Promise<Archive> {
  const out = openSpool(spool);
  const entries: ArchiveEntry[] = [];
  let offset = 0;
  try {
    for await (const { entry, bytes, pieces } of readTar(decompress(readDescriptor(fd)))) {
      signal.throwIfAborted();
      entries.push({ entry: layerEntryOf(entry), offset });
      if (entry.type !== 'file' || entry.size === 0) continue;
      requireSpace(dirname(spool), entry.size);
      if (bytes !== undefined) writeSpool(out.fd, bytes, offset);
      else
        for await (const piece of pieces()) {
          signal.throwIfAborted();
          writeSpool(out.fd, piece.bytes, offset + piece.offset);
        }
      offset += entry.size;
    }
    ftruncateSync(out.fd, offset);
  } catch (error) {
    out[Symbol.dispose]();
    throw error;
  }
  return { entries, fd: out.fd, [Symbol.dispose]: () => out[Symbol.dispose]() };
}

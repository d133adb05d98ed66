/**
 * Which compressed blobs a layer has: by diffID and how it was compressed.
 *
 *   <root>/aa/<rest>.<how>.json    what an engine made of it at a level
 *   <root>/aa/<rest>.origin.json   { blobs: […] }, what it came as from elsewhere, whatever made that; the newest first
 *
 * A layer that came from elsewhere travels on as the bytes that it was. Where those can be had is known by
 * lazy-blobs.ts.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { hexOf, isDigest, type Digest, type DiffID } from '../base/digest.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject } from '../base/json.ts';

export interface CompressedBlob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** Of one layer, compressed differently elsewhere. */
const MAX_ORIGINS = 4;

export interface CompressedBlobs {
  /** `how`: engine and level, such as `gzip-6`. */
  get(diffID: DiffID, how: string): CompressedBlob | undefined;
  put(diffID: DiffID, how: string, blob: CompressedBlob): void;
  origins(diffID: DiffID): readonly CompressedBlob[];
  addOrigin(diffID: DiffID, blob: CompressedBlob): void;
  dropOrigins(diffID: DiffID): void;
}

export function openCompressedBlobs(root: string, host: Host): CompressedBlobs {
  const place = (diffID: DiffID, how: string): string =>
    join(root, hexOf(diffID).slice(0, 2), `${hexOf(diffID).slice(2)}.${how}.json`);

  function origins(diffID: DiffID): readonly CompressedBlob[] {
    const value = readJsonIfExists(place(diffID, 'origin'));
    const blobs = isJsonObject(value) ? value['blobs'] : undefined;
    return Array.isArray(blobs) ? blobs.flatMap((each) => parseBlob(each) ?? []) : [];
  }

  return {
    get: (diffID, how) => parseBlob(readJsonIfExists(place(diffID, how))),
    put(diffID, how, { mediaType, digest, size }) {
      writeFileAtomic(host, place(diffID, how), JSON.stringify({ mediaType, digest, size }));
    },
    origins,
    dropOrigins: (diffID) => rmSync(place(diffID, 'origin'), { force: true }),
    addOrigin(diffID, { mediaType, digest, size }) {
      const before = origins(diffID);
      if (before[0]?.digest === digest && before[0].mediaType === mediaType) return;
      const blobs = [{ mediaType, digest, size }, ...before.filter((each) => each.digest !== digest)];
      writeFileAtomic(host, place(diffID, 'origin'), JSON.stringify({ blobs: blobs.slice(0, MAX_ORIGINS) }));
    },
  };
}

function parseBlob(value: unknown): CompressedBlob | undefined {
  if (!isJsonObject(value)) return undefined;
  const { mediaType, digest, size } = value;
  return typeof mediaType === 'string' &&
    typeof digest === 'string' &&
    isDigest(digest) &&
    typeof size === 'number'
    ? { mediaType, digest, size }
    : undefined;
}

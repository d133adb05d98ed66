/**
 * Which compressed blobs a layer has: by diffID and how it was compressed.
 *
 * `origin` is the blob that a pulled layer came with, whatever made it; it is kept, so that a base image travels on
 * as the bytes that it was. `repositories` are where a registry is known to hold it (cross-repository mount).
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { hexOf, isDigest, type Digest, type DiffID } from '../base/digest.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject } from '../base/json.ts';

export interface CompressedBlob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** `registry/repository`. */
  readonly repository?: string;
}

export interface CompressedBlobs {
  /** `how`: `origin`, or engine and level such as `gzip-6`. */
  get(diffID: DiffID, how: string): CompressedBlob | undefined;
  put(diffID: DiffID, how: string, blob: CompressedBlob): void;
}

export function openCompressedBlobs(root: string, host: Host): CompressedBlobs {
  const place = (diffID: DiffID, how: string): string =>
    join(root, hexOf(diffID).slice(0, 2), `${hexOf(diffID).slice(2)}.${how}.json`);
  return {
    get(diffID, how) {
      const value = readJsonIfExists(place(diffID, how));
      if (!isJsonObject(value)) return undefined;
      const { mediaType, digest, size, repository } = value;
      if (
        typeof mediaType !== 'string' ||
        typeof digest !== 'string' ||
        !isDigest(digest) ||
        typeof size !== 'number'
      )
        return undefined;
      return { mediaType, digest, size, ...(typeof repository === 'string' ? { repository } : {}) };
    },
    put(diffID, how, blob) {
      writeFileAtomic(host, place(diffID, how), JSON.stringify(blob));
    },
  };
}

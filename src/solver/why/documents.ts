/**
 * What records refer to besides layers, by digest: listings of files, texts of ignore files. Only `tsbuild why` and its
 * like read them; losing one costs a name in an explanation.
 *
 * A listing is kept short: digests of files are cut to what tells them apart. It is kept as it is, since half of it is
 * digests, which hardly shrink, and deflating it takes longer than finding what changed. One that is too long is not kept.
 * Behind each text stands its SHA-256.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type Digest } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import type { Listing, ListingText } from '../listing.ts';

/** Bytes of a listing's text, shortened. */
const MAX_SIZE = 32 << 20;
const MAX_TEXT = 1 << 20;
const TAIL = 32;
const FILE_DIGEST = /sha256:([0-9a-f]{16})[0-9a-f]{48}/g;

/** Bytes of it that are read at once. */
const PART = 1 << 17;

export interface Documents {
  putListing(listing: Listing): void;
  /** Its text, shortened. */
  listing(digest: Digest): ListingText | undefined;
  /** Returns its digest. */
  putText(text: string): Digest;
  text(digest: Digest): string | undefined;
}

/** The text that is kept of a listing. */
export function shortened(listing: Listing): ListingText {
  return listing.short ?? ((): Iterable<Buffer> => [cutDigests(listing.text)]);
}

function cutDigests(text: string): Buffer {
  return Buffer.from(text.replace(FILE_DIGEST, '$1'), 'latin1');
}

export function openDocuments(root: string, host: Host): Documents {
  const place = (digest: Digest): string => join(root, hexOf(digest).slice(0, 2), hexOf(digest).slice(2));
  /** When those were changed last that were found to be whole. */
  const whole = new Map<Digest, number>();

  /** Of its text, without what stands behind it; undefined where it is damaged. */
  function sizeOf(digest: Digest, maxSize: number): number | undefined {
    // Named by a record, which may come from elsewhere.
    if (!isDigest(digest)) return undefined;
    try {
      const path = place(digest);
      const { size: all, ctimeMs } = statSync(path);
      const size = all - TAIL;
      if (size > maxSize || size < 0) return undefined;
      if (whole.get(digest) !== ctimeMs && !isWhole(path, size)) return undefined;
      whole.set(digest, ctimeMs);
      return size;
    } catch {
      // It was pruned, or never kept: then there is nothing to compare with.
      return undefined;
    }
  }

  return {
    putListing(listing) {
      const limited = function* (): Generator<Buffer, void, undefined> {
        const sum = createHash('sha256');
        let size = 0;
        for (const part of shortened(listing)()) {
          size += part.byteLength;
          if (size > MAX_SIZE) throw new TooLong();
          sum.update(part);
          yield part;
        }
        yield sum.digest();
      };
      try {
        writeFileAtomic(host, place(listing.digest), limited);
      } catch (error) {
        if (!(error instanceof Error && error.cause instanceof TooLong)) throw error;
      }
    },
    listing(digest) {
      const size = sizeOf(digest, MAX_SIZE);
      return size === undefined ? undefined : () => partsOf(place(digest), 0, size);
    },
    putText(text) {
      const digest = digestOf(text);
      const bytes = Buffer.from(text);
      const sum = createHash('sha256').update(bytes).digest();
      if (bytes.byteLength <= MAX_TEXT) writeFileAtomic(host, place(digest), Buffer.concat([bytes, sum]));
      return digest;
    },
    text(digest) {
      const size = sizeOf(digest, MAX_TEXT);
      if (size === undefined) return undefined;
      return Buffer.concat(
        Array.from(partsOf(place(digest), 0, size), (part) => Buffer.from(part)),
      ).toString();
    },
  };
}

class TooLong extends Error {}

/** Whether the sum that stands behind the text is that of the text. */
function isWhole(path: string, size: number): boolean {
  const sum = createHash('sha256');
  for (const part of partsOf(path, 0, size)) sum.update(part);
  const [tail = Buffer.alloc(0)] = partsOf(path, size, size + TAIL);
  return sum.digest().equals(tail);
}

/** Bytes of a file, in parts that hold until the next is asked for. */
function* partsOf(path: string, from: number, to: number): Generator<Buffer, void, undefined> {
  const fd = openSync(path, 'r');
  try {
    const part = Buffer.allocUnsafeSlow(Math.min(PART, to - from));
    for (let at = from; at < to; ) {
      const count = readSync(fd, part, 0, Math.min(part.byteLength, to - at), at);
      if (count === 0) return;
      yield part.subarray(0, count);
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

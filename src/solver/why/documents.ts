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
import { readFileSync, statSync } from 'node:fs';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type Digest } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import type { Listing } from '../listing.ts';

/** Bytes of a listing's text, shortened. */
const MAX_SIZE = 32 << 20;
const MAX_TEXT = 1 << 20;
const TAIL = 32;
const FILE_DIGEST = /sha256:([0-9a-f]{16})[0-9a-f]{48}/g;

export interface Documents {
  putListing(listing: Listing): void;
  /** Its text, shortened. */
  listing(digest: Digest): string | undefined;
  /** Returns its digest. */
  putText(text: string): Digest;
  text(digest: Digest): string | undefined;
}

/** The text that is kept of a listing. */
export function shortened(listing: Listing): string {
  const known = texts.get(listing) ?? listing.short ?? listing.text.replace(FILE_DIGEST, '$1');
  texts.set(listing, known);
  return known;
}

/** It is compared first and kept then. */
const texts = new WeakMap<Listing, string>();

export function openDocuments(root: string, host: Host): Documents {
  const place = (digest: Digest): string => join(root, hexOf(digest).slice(0, 2), hexOf(digest).slice(2));

  function read(digest: Digest, maxSize: number): Buffer | undefined {
    // Named by a record, which may come from elsewhere.
    if (!isDigest(digest)) return undefined;
    try {
      const path = place(digest);
      return statSync(path).size > maxSize + TAIL ? undefined : opened(readFileSync(path));
    } catch {
      // It was pruned, or never kept: then there is nothing to compare with.
      return undefined;
    }
  }

  function write(digest: Digest, text: Buffer): void {
    writeFileAtomic(host, place(digest), Buffer.concat([text, sumOf(text)]));
  }

  return {
    putListing(listing) {
      const text = shortened(listing);
      if (text.length <= MAX_SIZE) write(listing.digest, Buffer.from(text, 'latin1'));
    },
    listing: (digest) => read(digest, MAX_SIZE)?.toString('latin1'),
    putText(text) {
      const digest = digestOf(text);
      const bytes = Buffer.from(text);
      if (bytes.byteLength <= MAX_TEXT) write(digest, bytes);
      return digest;
    },
    text: (digest) => read(digest, MAX_TEXT)?.toString('utf8'),
  };
}

function sumOf(text: Buffer): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The text of a file; undefined where it is damaged. */
function opened(bytes: Buffer): Buffer | undefined {
  const text = bytes.subarray(0, -TAIL);
  return sumOf(text).equals(bytes.subarray(-TAIL)) ? text : undefined;
}

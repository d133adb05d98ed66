/**
 * What records refer to besides layers, by digest: listings of files, texts of ignore files. Only `tsbuild why` and its
 * like read them; losing one costs a name in an explanation.
 *
 * A listing is kept short: digests of files are cut to what tells them apart, and the whole is deflated. One that is
 * too long is not kept.
 */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type Digest } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import type { Listing } from '../listing.ts';

/** Bytes of a listing's text, shortened. */
const MAX_SIZE = 32 << 20;
const MAX_TEXT = 1 << 20;
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

  function read(digest: Digest, maxSize: number): string | undefined {
    // Named by a record, which may come from elsewhere.
    if (!isDigest(digest)) return undefined;
    try {
      const bytes = readFileSync(place(digest));
      return inflateRawSync(bytes, { maxOutputLength: maxSize }).toString('latin1');
    } catch {
      // It was pruned, or never kept, or it is damaged: then there is nothing to compare with.
      return undefined;
    }
  }

  function write(digest: Digest, text: string): void {
    const packed = deflateRawSync(Buffer.from(text, 'latin1'), { level: constants.Z_BEST_SPEED });
    writeFileAtomic(host, place(digest), packed);
  }

  return {
    putListing(listing) {
      const text = shortened(listing);
      if (text.length <= MAX_SIZE) write(listing.digest, text);
    },
    listing: (digest) => read(digest, MAX_SIZE),
    putText(text) {
      const digest = digestOf(text);
      const bytes = Buffer.from(text).toString('latin1');
      if (bytes.length <= MAX_TEXT) write(digest, bytes);
      return digest;
    },
    text(digest) {
      const bytes = read(digest, MAX_TEXT);
      return bytes === undefined ? undefined : Buffer.from(bytes, 'latin1').toString('utf8');
    },
  };
}

/**
 * Going through all entries of a listing (tree/listing.h) at once, through libtsbsys.so: what a loop in JavaScript, mostly
 * run before it is compiled, takes ten times as long for. Throws EINVAL for what is no listing.
 */
import { check, loadLibrary } from './sys.ts';

/** Bytes of a digest, and of struct stat_entry. */
const DIGEST = 32;
const ENTRY = 80;

/** Of listing-text.h. */
export const LISTING_MODES = 1;
export const LISTING_OWNERS = 2;
export const LISTING_PATHS = 4;
export const LISTING_SHORT = 8;

/** The entries of a listing (its segments) as text; `digests` are those of its files. */
export function listingText(segments: readonly Buffer[], flags: number, digests: Buffer): Buffer {
  const { listingText: call } = loadLibrary();
  const sizes = sizesOf(segments);
  const put = (out: Buffer): number => {
    const files = Math.floor(digests.byteLength / DIGEST);
    const given = [segments, sizes, segments.length, flags, digests, files, out, out.byteLength];
    return check('listing', call(...given));
  };
  const text = Buffer.allocUnsafeSlow(put(Buffer.alloc(0)));
  put(text);
  return text;
}

function sizesOf(segments: readonly Buffer[]): BigUint64Array {
  return BigUint64Array.from(segments, ({ byteLength }) => BigInt(byteLength));
}

/** What is known of files by what stat(2) says of them, as stat-entries.h has it. */
export interface StatEntries {
  /** Three words for each file system of the listing: what it is called in keys, and whether it is trusted. */
  readonly places: Uint32Array;
  readonly entries: Uint32Array;
  readonly count: number;
  /** A byte for each entry. */
  readonly used: Uint8Array;
}

/** Digests of a listing's files, by their numbers. */
export interface FileDigests {
  readonly digests: Buffer;
  readonly known: Uint8Array;
  /** Of a file without content. */
  readonly empty: Buffer;
}

/** Fills in the digests that are not known yet, where entries have them; tells what is still unknown. */
export function findDigests(
  segments: readonly Buffer[],
  { places, entries, count, used }: StatEntries,
  { digests, known, empty }: FileDigests,
): { readonly files: number; readonly bytes: number; readonly haveNames: boolean } {
  if (digests.byteLength < DIGEST * known.byteLength || empty.byteLength < DIGEST)
    throw new RangeError('there is no room for the digests of the files');
  if (used.byteLength < count || entries.byteLength < ENTRY * count)
    throw new RangeError('there are fewer entries');
  const unknown = new Float64Array(3);
  const { findDigests: call } = loadLibrary();
  const listing = [segments, sizesOf(segments), segments.length];
  const found = [places, places.length / 3, entries, count, used];
  check('listing', call(...listing, ...found, digests, known, known.byteLength, empty, unknown));
  const [files = 0, bytes = 0, names = 0] = unknown;
  return { files, bytes, haveNames: names > 0 };
}

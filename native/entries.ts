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

/** A text is made in at most so many parts, each of which goes through the names of what came before it. */
const MAX_PARTS = 16;
/** Mostly enough for the text of a segment. */
const ROOM = 1 << 20;

/**
 * The entries of a listing (its segments) as text, in parts of whole pieces, each of which holds until the next is asked for;
 * `digests` are those of its files. why in parts: long paths make a text that is many times as long as the listing.
 */
export function* listingText(
  segments: readonly Buffer[],
  flags: number,
  digests: Buffer,
): Generator<Buffer, void, undefined> {
  const { listingText: call } = loadLibrary();
  const files = Math.floor(digests.byteLength / DIGEST);
  const step = Math.max(1, Math.ceil(segments.length / MAX_PARTS));
  let out = Buffer.allocUnsafeSlow(ROOM);
  for (let first = 0; first < segments.length; first += step) {
    const part = segments.slice(0, first + step);
    const put = (): number => {
      const given = [part, sizesOf(part), part.length, first, flags, digests, files, out, out.byteLength];
      return check('listing', call(...given));
    };
    const size = put();
    if (size > out.byteLength) {
      out = Buffer.allocUnsafeSlow(size);
      put();
    }
    yield out.subarray(0, size);
  }
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

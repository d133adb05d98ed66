/** What is asked of every entry of a listing at once: one native call where there are many, in the format of listing.h. */
import {
  findDigests,
  LISTING_MODES,
  LISTING_OWNERS,
  LISTING_PATHS,
  LISTING_SHORT,
  listingText,
  type FileDigests,
  type StatEntries,
} from '../../native/entries.ts';
import type { Listing } from './listing.ts';

/** Fewer are gone through faster than the library is loaded, which a walk of many has done already. */
const MANY = 1000;

export function hasMany({ entries }: Listing): boolean {
  return entries > MANY;
}

export interface ListingFields {
  readonly keepsMode: boolean;
  readonly keepsOwner: boolean;
  /** false: the listing is of the one thing that was selected, whose path is `.`. */
  readonly isBelow: boolean;
  /** Digests of files are cut, as they are kept. */
  readonly isShort: boolean;
}

/**
 * The pieces of src/solver/listing.ts for the entries, in parts that hold until the next is asked for; `digests` are those of
 * the files, by their numbers.
 */
export function entriesText({ segments }: Listing, fields: ListingFields, digests: Buffer): Iterable<Buffer> {
  const { keepsMode, keepsOwner, isBelow, isShort } = fields;
  const flags =
    (keepsMode ? LISTING_MODES : 0) |
    (keepsOwner ? LISTING_OWNERS : 0) |
    (isBelow ? LISTING_PATHS : 0) |
    (isShort ? LISTING_SHORT : 0);
  return listingText(segments, flags, digests);
}

/** Of files whose digests are not known. */
export interface Unknown {
  readonly files: number;
  readonly bytes: number;
  /** Whether files are among all of them that have several names. */
  readonly haveNames: boolean;
}

/** Digests by the numbers of files, as far as they are known. */
export type { FileDigests } from '../../native/entries.ts';

/** Fills in the digests that the entries have and `digests` has not. */
export function lookUpStats({ segments }: Listing, entries: StatEntries, digests: FileDigests): Unknown {
  return findDigests(segments, entries, digests);
}

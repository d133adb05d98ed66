/**
 * What a COPY selected, with all that lies below it and what is known of its content: plain data between gathering,
 * digesting and placing.
 */
import type { ListingCursor, Listing } from '../../../layer/listing.ts';
import type { ByteString } from '../../../base/byte-string.ts';
import { joinPath, type Selected } from './selected.ts';

export const DIGEST_SIZE = 32;

/** Contents of a listing's files, by their number there (`ListingCursor.file`): room for all of its entries. */
export interface Contents {
  /** 32 bytes each, as far as they are `known`. */
  readonly digests: Buffer;
  /** 1: the digest is known. */
  readonly known: Uint8Array;
  /** Of those that were read into memory. */
  readonly bytes: Map<number, Uint8Array>;
  /** Whether some have several names; undefined: nobody has looked. */
  haveNames?: boolean;
}

export interface Gathered {
  readonly selected: Selected;
  /** Of a directory what lies below it, else the thing itself. */
  readonly listing: Listing;
  readonly contents: Contents;
}

export function gatheredOf(selected: Selected, listing: Listing): Gathered {
  const { entries } = listing;
  const digests = Buffer.alloc(entries * DIGEST_SIZE);
  return { selected, listing, contents: { digests, known: new Uint8Array(entries), bytes: new Map() } };
}

/** Where an entry lies in its tree. */
export function sourcePath({ selected }: Gathered, cursor: ListingCursor): ByteString {
  return selected.stat.type === 'directory' ? joinPath(selected.path, cursor.pathText()) : selected.path;
}

/** Where the directories of a listing's entries begin, and how entries are named from there. */
export function prefixOf({ selected }: Gathered): ByteString {
  if (selected.stat.type === 'directory') return selected.path === '' ? '' : `${selected.path}/`;
  return selected.path.slice(0, selected.path.lastIndexOf('/') + 1);
}

/**
 * Listings: what a COPY selected, entry by entry, as the text whose digest stands in its cache key.
 *
 * A listing is a sequence of pieces of five fields, each field ended by NUL, which no name can hold, so that two
 * selections never give the same text. Strings are byte strings (latin1).
 *
 *   '' argument pivot asked type        a thing that a pattern named; the entries below follow
 *   / path '' mode ''                   with --parents: a directory that comes along, path as asked for
 *   relative type mode owner content    an entry; `relative` is `.` for the thing itself
 *
 * `content` is the digest of a file (and, after a space, its capability in hex), the target of a link, the numbers
 * of a device.
 */
import type { ByteString } from '../base/byte-string.ts';
import type { Digest } from '../base/digest.ts';
import type { EntryType } from '../layer/tree.ts';

/**
 * The text of a listing from its beginning, each time that it is called, in parts that hold until the next is asked for; pieces
 * may lie across them. why in parts: where paths are long it is many times as long as all else that is known of the files.
 */
export type ListingText = () => Iterable<Buffer>;

export interface Listing {
  readonly digest: Digest;
  /** All pieces, one after the other: what the digest is of. May be made anew each time. */
  readonly text: string;
  /** As it is kept, with digests of files cut to 16 digits; absent: it is made of the text. */
  readonly short?: ListingText;
}

const ITSELF = '.';
const ON_THE_WAY = '/';

export function selectedPiece(
  {
    argument,
    pivot,
    asked,
  }: { readonly argument: number; readonly pivot: ByteString; readonly asked: ByteString },
  type: EntryType,
): string {
  return `\0${argument}\0${pivot}\0${asked}\0${type}\0`;
}

export function wayPiece(path: ByteString, mode: string): string {
  return `${ON_THE_WAY}\0${path}\0\0${mode}\0\0`;
}

/** `relative` to what was selected, `''` for that itself. */
export function entryPiece(
  relative: ByteString,
  type: EntryType,
  mode: string,
  owner: string,
  content: string,
): string {
  return `${relative === '' ? ITSELF : relative}\0${type}\0${mode}\0${owner}\0${content}\0`;
}

export interface ListedEntry {
  readonly type: string;
  /** Octal; `''` where it does not count. */
  readonly mode: string;
  /** `uid:gid`; `''` where it does not count. */
  readonly owner: string;
  readonly content: string;
}

/** Of a piece. */
export const LISTING_FIELDS = 5;

/** What patterns named, as a user would write it, and what it is. */
export function selectionsOf(text: string): readonly { readonly path: ByteString; readonly type: string }[] {
  const selections: { readonly path: ByteString; readonly type: string }[] = [];
  const fields = text.split('\0');
  for (let at = 0; at + LISTING_FIELDS <= fields.length; at += LISTING_FIELDS) {
    const [name = '', , , asked = '', type = ''] = fields.slice(at, at + LISTING_FIELDS);
    if (name === '') selections.push({ path: asked.replace(/\/+$/, ''), type });
  }
  return selections;
}

/** Entries by the path (a byte string) that a user would write, from the root of what they were selected in. */
export function entriesOf(text: string): ReadonlyMap<ByteString, ListedEntry> {
  const entries = new Map<ByteString, ListedEntry>();
  const fields = text.split('\0');
  let base = '';
  for (let at = 0; at + LISTING_FIELDS <= fields.length; at += LISTING_FIELDS) {
    const [name = '', type = '', mode = '', owner = '', content = ''] = fields.slice(at, at + LISTING_FIELDS);
    if (name === '') {
      // The fields have other meanings here: the fourth is the path that was asked for.
      base = owner.replace(/\/+$/, '');
    } else if (name === ON_THE_WAY) {
      entries.set(type, { type: 'directory', mode: owner, owner: '', content: '' });
    } else {
      const below = name === ITSELF ? '' : name;
      const path = base === '' || below === '' ? `${base}${below}` : `${base}/${below}`;
      entries.set(path, { type, mode, owner, content });
    }
  }
  return entries;
}

/**
 * What two listings do not share. Mostly a few files of very many differ: nothing is made of the entries around them, which
 * stand in both, in the same order.
 */
import type { ByteString } from '../../base/byte-string.ts';
import { entriesOf, LISTING_FIELDS, type ListedEntry } from '../listing.ts';

type Entries = ReadonlyMap<ByteString, ListedEntry>;

/** Whatever came, went or changed is in them; most of what did not is in neither. */
export interface ListingDifference {
  readonly before: Entries;
  readonly after: Entries;
}

/** So many entries that came or went at one place are looked over for what follows them. */
const AHEAD = 100;

/** Takes texts of listings, both as they are made or both as they are kept. */
export function differenceOf(before: string, after: string): ListingDifference {
  const found = differingEntries(before, after);
  // why: patterns may name a file twice, so that what seems to have come or gone here stands in what both share.
  const isCertain =
    haveSamePaths(found) || (countPieces(before).selected <= 1 && countPieces(after).selected <= 1);
  return isCertain ? found : { before: entriesOf(before), after: entriesOf(after) };
}

/** How many of a listing's entries are no directories. */
export function countFiles(text: string): number {
  return countPieces(text).files;
}

function differingEntries(before: string, after: string): ListingDifference {
  const [old, now] = [new Side(before), new Side(after)];
  for (;;) {
    passCommon(old, now);
    if (old.isOver || now.isOver || old.isSelected || now.isSelected) break;
    const [come, gone] = [now.find(old.name()), old.find(now.name())];
    if (come === undefined && gone === undefined) break;
    if (come !== undefined && (gone === undefined || come <= gone)) now.take(come);
    else old.take(gone ?? 0);
    if (come === 0) for (const side of [old, now]) side.take(1);
  }
  return { before: old.rest(), after: now.rest() };
}

/** Passes over the pieces that are next in both and the same. */
function passCommon(old: Side, now: Side): void {
  const length = Math.min(old.text.length - old.at, now.text.length - now.at);
  let [nuls, begin] = [0, 0];
  for (let index = 0; index < length; index += 1) {
    const code = old.text.charCodeAt(old.at + index);
    if (code !== now.text.charCodeAt(now.at + index)) break;
    if (code !== 0) continue;
    nuls += 1;
    if (nuls % LISTING_FIELDS !== 0) continue;
    if (old.text.charCodeAt(old.at + begin) === 0) {
      const selected = old.text.slice(old.at + begin, old.at + index + 1);
      for (const side of [old, now]) side.select(selected);
    }
    begin = index + 1;
  }
  for (const side of [old, now]) side.at += begin;
}

/** One of the two, read from its beginning. */
class Side {
  readonly text: string;
  /** Where the next piece begins. */
  at = 0;
  readonly #taken: string[] = [];
  /** What says in what the next entries lie, where nothing of them was taken. */
  #selected = '';

  constructor(text: string) {
    this.text = text;
  }

  get isOver(): boolean {
    return this.at >= this.text.length;
  }

  /** The next piece is no entry. */
  get isSelected(): boolean {
    return this.text.charCodeAt(this.at) === 0;
  }

  select(piece: string): void {
    this.#selected = piece;
  }

  /** With the NUL that ends it. */
  name(): string {
    return this.text.slice(this.at, this.text.indexOf('\0', this.at) + 1);
  }

  /** How many entries come before that of this name; undefined: it is not near. */
  find(name: string): number | undefined {
    let at = this.at;
    for (let count = 0; count < AHEAD && at < this.text.length; count += 1) {
      if (this.text.charCodeAt(at) === 0) return undefined;
      if (this.text.startsWith(name, at)) return count;
      at = endOfPiece(this.text, at);
    }
    return undefined;
  }

  take(count: number): void {
    for (let piece = 0; piece < count; piece += 1) {
      const end = endOfPiece(this.text, this.at);
      this.#add(end);
    }
  }

  #add(end: number): void {
    this.#taken.push(this.#selected, this.text.slice(this.at, end));
    this.#selected = '';
    this.at = end;
  }

  /** What was taken, and all that was not read. */
  rest(): Entries {
    this.#add(this.text.length);
    return entriesOf(this.#taken.join(''));
  }
}

function haveSamePaths({ before, after }: ListingDifference): boolean {
  if (before.size !== after.size) return false;
  for (const path of before.keys()) if (!after.has(path)) return false;
  return true;
}

function countPieces(text: string): { readonly files: number; readonly selected: number } {
  let [files, selected] = [0, 0];
  for (let at = 0; at < text.length; ) {
    const type = text.indexOf('\0', at) + 1;
    if (text.charCodeAt(at) === 0) selected += 1;
    else if (!text.startsWith('/\0', at) && !text.startsWith('directory\0', type)) files += 1;
    at = endOfPiece(text, at);
  }
  return { files, selected };
}

function endOfPiece(text: string, begin: number): number {
  let at = begin;
  for (let field = 0; field < LISTING_FIELDS; field += 1) {
    at = text.indexOf('\0', at) + 1;
    // What was kept is damaged.
    if (at === 0) return text.length;
  }
  return at;
}

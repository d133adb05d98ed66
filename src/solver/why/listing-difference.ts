/**
 * What two listings do not share, found in one pass over both, which have the same order: nothing is made of the entries
 * that are in both, and nothing is kept but what came and went.
 */
import type { ByteString } from '../../base/byte-string.ts';
import type { ListedEntry, ListingText } from '../listing.ts';
import { PieceReader } from './listing-pieces.ts';

export type Entries = ReadonlyMap<ByteString, ListedEntry>;

export interface ListingDifference {
  readonly gone: Entries;
  readonly come: Entries;
  /** How many entries are no directories, then and now; of files that are named twice, each time. */
  readonly filesBefore: number;
  readonly files: number;
  /** Files in directories that went, which are not in `gone` since there are too many. */
  readonly notKept: number;
}

/**
 * So many entries that went, and as many that came, are kept one by one. With more, nobody reads what moved where, which takes
 * time and memory for each of them to find out.
 */
export const MANY = 10_000;

/** Told of what is in both and not the same. */
export type OnChanged = (path: ByteString, before: ListedEntry, after: ListedEntry) => void;

/** Takes texts of listings, both as they are made or both as they are kept. */
export function differenceOf(
  before: ListingText,
  after: ListingText,
  onChanged: OnChanged,
): ListingDifference {
  const found = new Difference(onChanged);
  const [old, now] = [new PieceReader(before), new PieceReader(after)];
  for (;;) {
    const hasOld = old.find();
    if (hasOld && isOfSameSelection(old, now) && now.findSame(old)) {
      for (const side of [old, now]) side.pass();
      continue;
    }
    const hasNow = now.find();
    if (!hasOld && !hasNow) break;
    const order = hasOld && hasNow ? orderOf(old, now) : hasOld ? -1 : 1;
    if (order === 0) found.both(old, now);
    else if (order < 0) found.went(old);
    else found.came(now);
    if (order <= 0) old.pass();
    if (order >= 0) now.pass();
  }
  found.settle(before, after);
  const [filesBefore, files] = [old.files, now.files];
  const { gone, come } = found;
  return { gone: gone.entries, come: come.entries, filesBefore, files, notKept: gone.notKept };
}

/** How many of a listing's entries are no directories. */
export function countFiles(text: ListingText): number {
  const side = new PieceReader(text);
  while (side.find()) side.pass();
  return side.files;
}

function isOfSameSelection(old: PieceReader, now: PieceReader): boolean {
  return old.argument === now.argument && old.asked === now.asked;
}

/** Below 0: what is next in `old` is not in `now`, as far as both have the order that listings have. */
function orderOf(old: PieceReader, now: PieceReader): number {
  const [argument, asked] = selectionOf(old);
  const [argumentNow, askedNow] = selectionOf(now);
  if (argument !== argumentNow) return argument - argumentNow;
  if (asked !== askedNow) return asked < askedNow ? -1 : 1;
  if (old.isHead || now.isHead) return Number(now.isHead) - Number(old.isHead);
  return old.orderTo(now);
}

function selectionOf(side: PieceReader): readonly [number, ByteString] {
  return side.isHead ? [side.headArgument, side.headAsked] : [side.argument, side.asked];
}

/** What is in one of the listings alone. */
class Alone {
  readonly entries = new Map<ByteString, ListedEntry>();
  notKept = 0;
  #directory: ByteString | undefined;

  add(side: PieceReader): void {
    const path = side.path();
    if (this.entries.size > MANY && !side.isDirectory && this.#hasNext(path)) this.notKept += 1;
    else this.entries.set(path, side.entry());
  }

  /** Whether it lies in a directory that is there, too, with the file before it. */
  #hasNext(path: ByteString): boolean {
    const directory = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    if (directory === this.#directory) return true;
    if (this.entries.has(directory)) this.#directory = directory;
    return false;
  }
}

class Difference {
  readonly gone = new Alone();
  readonly come = new Alone();
  /** why: patterns may name a file twice, which is one file. */
  readonly #told = new Set<ByteString>();
  readonly #onChanged: OnChanged;
  #selections = 0;

  constructor(onChanged: OnChanged) {
    this.#onChanged = onChanged;
  }

  both(old: PieceReader, now: PieceReader): void {
    if (old.isHead) this.#selections += 1;
    else this.#tell(now.path(), old.entry(), now.entry());
  }

  #tell(path: ByteString, before: ListedEntry, after: ListedEntry): void {
    if (this.#told.has(path)) return;
    this.#told.add(path);
    this.#onChanged(path, before, after);
  }

  went(old: PieceReader): void {
    if (old.isHead) this.#selections += 1;
    else this.gone.add(old);
  }

  came(now: PieceReader): void {
    if (now.isHead) this.#selections += 1;
    else this.come.add(now);
  }

  /** What seems to have gone at one place may have come at another, or be there all the time. */
  settle(before: ListingText, after: ListingText): void {
    const [gone, come] = [this.gone.entries, this.come.entries];
    for (const [path, old] of gone) {
      const now = come.get(path);
      if (now === undefined) continue;
      for (const paths of [gone, come]) paths.delete(path);
      this.#tell(path, old, now);
    }
    // With the same selections on both sides, and no pattern beside the first, each path was seen once.
    if (this.#selections === 0) return;
    if (gone.size > 0) forEachPath(after, (path) => void gone.delete(path));
    if (come.size > 0) forEachPath(before, (path) => void come.delete(path));
  }
}

function forEachPath(text: ListingText, visit: (path: ByteString) => void): void {
  for (const side = new PieceReader(text); side.find(); side.pass()) if (!side.isHead) visit(side.path());
}

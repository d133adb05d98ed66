/**
 * Leaving out of a listing what ignore patterns and --exclude name. A directory that is left out stays where
 * something below it is taken back.
 */
import { toText, type ByteString } from '../../../base/byte-string.ts';
import type { IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import { LISTED_DIRECTORY, ListingCursor, type Listing } from '../../../layer/listing.ts';
import { joinPath } from './selected.ts';

export interface Filter {
  /** Of the build context; matched against paths from the context's root. */
  readonly ignore?: IgnoreMatcher;
  /** Of --exclude; matched against paths from each copied directory. */
  readonly exclude?: IgnoreMatcher;
}

interface Held {
  readonly at: number;
  readonly depth: number;
}

/** `asked` is where the listing lies in the context. What the walk has pruned already is not looked for. */
export function leaveOut(listing: Listing, asked: ByteString, { ignore, exclude }: Filter): void {
  if (ignore?.isPlain !== false && exclude?.isPlain !== false) return;
  const cursor = new ListingCursor(listing);
  /** Directories above that are left out so far. */
  const held: Held[] = [];
  /** Below a directory of this depth everything is out. */
  let cut = Infinity;
  while (cursor.next()) {
    const { depth } = cursor;
    while ((held.at(-1)?.depth ?? -1) >= depth) held.pop();
    if (depth <= cut) cut = Infinity;
    if (cut !== Infinity) {
      cursor.leaveOut();
      continue;
    }
    const below = cursor.pathText();
    const path = toText(joinPath(asked, below));
    const isIgnored = ignore?.excludes(path) === true;
    const isExcluded = exclude?.excludes(toText(below)) === true;
    if (!isIgnored && !isExcluded) {
      for (const { at } of held.splice(0)) cursor.takeBack(at);
      continue;
    }
    cursor.leaveOut();
    if (cursor.type !== LISTED_DIRECTORY) continue;
    const mayComeBack =
      (!isIgnored || ignore.mayReincludeBelow(path)) &&
      (!isExcluded || exclude.mayReincludeBelow(toText(below)));
    if (mayComeBack) held.push({ at: cursor.at, depth });
    else cut = depth;
  }
}

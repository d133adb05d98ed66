/**
 * Whether an execution elsewhere is one of the same project. Many Dockerfiles have the same steps, above all those of one or
 * two; the files of the build context tell them apart.
 */
import { canonicalJson } from '../../base/json.ts';
import type { ListingText } from '../listing.ts';
import { filesOfSources } from './compare-copy.ts';
import type { Execution } from './execution.ts';
import { differenceOf, type Entries } from './listing-difference.ts';

/**
 * Whether more than half of the files that both have copied from the context are the same, by name or by content. undefined:
 * none are known of both.
 */
export function haveFilesInCommon(before: Execution, after: Execution): boolean | undefined {
  if (canonicalJson(before.origin.patterns ?? []) !== canonicalJson(after.origin.patterns ?? []))
    return undefined;
  const [old, now] = [filesOfSources(before), filesOfSources(after)];
  let [common, all] = [0, 0];
  for (const [index, { files, input }] of now.entries()) {
    const filesBefore = old[index]?.files;
    if (files === undefined || filesBefore === undefined) continue;
    if (after.origin.inputs[input]?.kind !== 'context') continue;
    // Whoever has the very files has them from the same place.
    if (files === filesBefore) return true;
    const [textBefore, text] = [before.listing(filesBefore), after.listing(files)];
    if (textBefore === undefined || text === undefined) continue;
    const shared = shareOf(textBefore, text);
    common += shared.common;
    all += shared.all;
  }
  return all === 0 ? undefined : common * 2 > all;
}

function shareOf(before: ListingText, after: ListingText): { readonly common: number; readonly all: number } {
  const { gone, come, filesBefore, files, notKept } = differenceOf(before, after, () => undefined);
  const contents = new Set(contentsOf(gone));
  const moved = contentsOf(come).filter((content) => contents.delete(content)).length;
  const filesGone = notKept + [...gone.values()].filter(({ type }) => type !== 'directory').length;
  return { common: filesBefore - filesGone + moved, all: files + filesGone - moved };
}

function contentsOf(entries: Entries): readonly string[] {
  return [...entries.values()].flatMap(({ type, content }) =>
    type === 'directory' || content === '' ? [] : [content],
  );
}

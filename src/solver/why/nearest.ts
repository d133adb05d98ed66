/** Which earlier records of a stage a step is best compared with. */
import type { CacheKey } from '../../base/digest.ts';
import type { StepPlace } from '../../graph/graph.ts';
import type { JournalLine } from './journal.ts';

/** How many records are read and compared. */
const MAX_CANDIDATES = 6;
/** Below this, two instructions are two different ones. */
const ALIKE = 0.4;

/**
 * Best first: the same text, then texts like it, those at the same place in the stage before others, of equals what was
 * used last. `texts` are those of the Dockerfile as it is now: what still stands in it elsewhere is no earlier form of
 * this step.
 */
export function candidatesFor(
  place: Pick<StepPlace, 'step' | 'text'>,
  lines: readonly JournalLine[],
  texts: ReadonlySet<string>,
  lastUsed: (key: CacheKey) => number | undefined,
): readonly JournalLine[] {
  const dated = lines.flatMap((line) => {
    const used = lastUsed(line.key);
    return used === undefined ? [] : [{ line, used }];
  });
  const atPlace = dated.filter(({ line }) => line.step === place.step);
  // Of what stood at this place, only the last may have become this step: the others had gone before.
  const [stoodLast] = atPlace.toSorted((a, b) => b.used - a.used);
  return dated
    .map(({ line, used }) => ({
      line,
      used,
      likeness: likenessOf(place, line, texts, line === stoodLast?.line),
    }))
    .filter(({ likeness }) => likeness >= ALIKE)
    .sort((a, b) => b.likeness - a.likeness || b.used - a.used)
    .slice(0, MAX_CANDIDATES)
    .map(({ line }) => line);
}

function likenessOf(
  place: Pick<StepPlace, 'step' | 'text'>,
  line: JournalLine,
  texts: ReadonlySet<string>,
  stoodLast: boolean,
): number {
  if (line.text === place.text) return line.step === place.step ? 3 : 2;
  if (texts.has(line.text) || wordOf(line.text) !== wordOf(place.text)) return 0;
  return (stoodLast ? ALIKE : 0) + similarity(line.text, place.text);
}

/** COPY and ADD are two words for one thing: a step may become the other. */
function wordOf(text: string): string {
  const word = (/^[A-Za-z]+/.exec(text)?.[0] ?? '').toUpperCase();
  return word === 'ADD' ? 'COPY' : word;
}

/** How many of the words of both are words of each (Jaccard), without the instruction itself. */
export function similarity(a: string, b: string): number {
  const wordsOf = (text: string): ReadonlySet<string> =>
    new Set(
      text
        .split(/[\s=,;&|]+/)
        .slice(1)
        .filter((word) => word !== ''),
    );
  const [left, right] = [wordsOf(a), wordsOf(b)];
  const common = [...left].filter((word) => right.has(word)).length;
  const all = left.size + right.size - common;
  return all === 0 ? 1 : common / all;
}

/**
 * In which order units go: what is cheap to have again for its bytes first, and what nobody has used for long; nothing
 * before what builds upon it.
 */
import type { Unit } from './units.ts';

/** In so many milliseconds without use a unit loses half of its worth. */
const HALF_LIFE_MS = 24 * 3_600_000;

/** Milliseconds of work that are lost per byte that is won, discounted by age. */
export function worthOf({ costMs, used }: Pick<Unit, 'costMs' | 'used'>, size: number, now: number): number {
  const age = Math.max(0, now - used);
  return ((costMs + 1) / Math.max(size, 1)) * 2 ** (-age / HALF_LIFE_MS);
}

interface Candidate {
  readonly unit: Unit;
  readonly worth: number;
}

/** One chosen unit, and what it freed. */
export interface Chosen {
  readonly unit: Unit;
  readonly size: number;
  readonly paths: readonly string[];
}

/**
 * Takes units out of the books until `isEnough`, which gets the bytes so far. Units that are in use, or that `selects`
 * does not want, stay, and so does what they build upon.
 */
export function chooseUnits(
  units: readonly Unit[],
  selects: (unit: Unit) => boolean,
  isEnough: (freed: number) => boolean,
  now: number,
): readonly Chosen[] {
  const selected = new Set(units.filter((unit) => !unit.isInUse && selects(unit)));
  const below = new Map<Unit, Unit[]>();
  const waiting = new Map<Unit, number>();
  for (const unit of units) {
    waiting.set(unit, unit.dependents.size);
    for (const dependent of unit.dependents) {
      const lower = below.get(dependent);
      if (lower === undefined) below.set(dependent, [unit]);
      else lower.push(unit);
    }
  }
  const judged = (unit: Unit): Candidate => ({ unit, worth: worthOf(unit, unit.size(), now) });
  const queue = [...selected]
    .filter((unit) => waiting.get(unit) === 0)
    .map(judged)
    // The least worth last: taken from the end.
    .sort((a, b) => b.worth - a.worth);
  const chosen: Chosen[] = [];
  let freed = 0;
  for (let next = queue.pop(); next !== undefined && !isEnough(freed); next = queue.pop()) {
    const { unit } = next;
    const size = unit.size();
    chosen.push({ unit, size, paths: unit.take() });
    freed += size;
    for (const lower of below.get(unit) ?? []) {
      const left = (waiting.get(lower) ?? 0) - 1;
      waiting.set(lower, left);
      if (left === 0 && selected.has(lower)) insert(queue, judged(lower));
    }
  }
  return chosen;
}

function insert(queue: Candidate[], candidate: Candidate): void {
  let [low, high] = [0, queue.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((queue[middle]?.worth ?? 0) > candidate.worth) low = middle + 1;
    else high = middle;
  }
  queue.splice(low, 0, candidate);
}

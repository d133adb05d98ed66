/** What people ask to be removed: the build cache, images. */
import { join } from 'node:path';
import { namesIn } from '../../base/directory-names.ts';
import type { Engine } from '../engine.ts';
import { collect, moveAway, survey, type Collected, type Collector } from './collect.ts';
import { chooseUnits } from './order.ts';
import type { ImageEntry } from './roots.ts';
import type { Unit, UnitType } from './units.ts';

export interface CacheFilter {
  /** Milliseconds since the epoch: only what was used last before. */
  readonly usedBefore?: number;
  readonly types?: ReadonlySet<UnitType>;
  /** Beginnings of ids. */
  readonly ids?: readonly string[];
}

export interface PruneCacheOptions extends CacheFilter {
  /** What images of the store were made by, too. */
  readonly all: boolean;
  /** Bytes of the cache that stay: what is worth most. */
  readonly keepBytes?: number;
}

const everyImage = (): boolean => true;

export function collectorOf({ options, host, containers }: Engine): Collector {
  return { root: options.root, host, containers };
}

function matches(unit: Unit, { usedBefore, types, ids }: CacheFilter): boolean {
  if (usedBefore !== undefined && unit.used >= usedBefore) return false;
  if (types !== undefined && !types.has(unit.type)) return false;
  const id = unit.id.replace(/^sha256:/, '');
  return ids === undefined || ids.some((each) => each !== '' && id.startsWith(each.replace(/^sha256:/, '')));
}

/** Removes steps' results, states, cache mounts and mirrors; images stay whole. Throws STORE_IN_USE, IO_FAILED. */
export function pruneCache(engine: Engine, options: PruneCacheOptions): Collected {
  const collector = collectorOf(engine);
  const { all, keepBytes } = options;
  const selects = (unit: Unit): boolean => (all || !unit.isShared) && matches(unit, options);
  const now = engine.host.now();
  const wanted =
    keepBytes === undefined
      ? Number.POSITIVE_INFINITY
      : measureCache(survey(collector, everyImage).units, now).size - keepBytes;
  if (wanted <= 0) return { removed: [], freed: 0 };
  const collected = collect(collector, { keeps: everyImage, selects, wanted });
  const isWhole = [options.usedBefore, options.types, options.ids, keepBytes].every(
    (each) => each === undefined,
  );
  if (all && isWhole) moveAway(collector, shortCuts(engine.options.root));
  return collected;
}

/** Bytes of what goes when all of the cache does, and what of that nobody is using. Takes the units out of the books. */
export function measureCache(
  units: readonly Unit[],
  now: number,
): { readonly size: number; readonly reclaimable: number } {
  const chosen = chooseUnits(
    units,
    () => true,
    () => false,
    now,
  );
  const reclaimable = chosen.reduce((sum, { size }) => sum + size, 0);
  const gone = new Set(chosen.map(({ unit }) => unit));
  const rest = units.filter((unit) => !gone.has(unit)).reduce((sum, unit) => sum + unit.size(), 0);
  return { size: reclaimable + rest, reclaimable };
}

/** What is remembered about results that are gone: every build can do without. */
function shortCuts(root: string): readonly string[] {
  const notes = namesIn(join(root, 'records')).filter((name) => name !== 'steps');
  return [
    ...notes.map((name) => join(root, 'records', name)),
    ...['run/users', 'copies', 'stat-cache', 'http', 'sizes', 'unchanged'].map((name) => join(root, name)),
  ];
}

/** Removes images that `selects` accepts and no container is made of, and layers that nobody needs then. */
export function pruneImages(engine: Engine, selects: (image: ImageEntry) => boolean): Collected {
  return collect(collectorOf(engine), {
    keeps: (image) => image.containers > 0 || !selects(image),
    selects: ({ type }) => type === 'image',
  });
}

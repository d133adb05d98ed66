/** `--filter` of `prune`, `builder prune`, `image prune` and `system prune`. */
import { TsbuildError } from '../../base/errors.ts';
import type { CacheFilter } from '../../engine/gc/prune.ts';
import { UNIT_TYPES, type UnitType } from '../../engine/gc/units.ts';
import { parseMoment, parseSpan } from '../quantities.ts';

/** All filters must match; those of one key are alternatives, but for times. Throws USAGE. */
export function parseCacheFilters(texts: readonly string[], now: number): CacheFilter {
  const before: number[] = [];
  const types = new Set<UnitType>();
  const ids: string[] = [];
  for (const text of texts) {
    const { key, value } = splitFilter(text);
    switch (key) {
      case 'until':
        before.push(parseMoment(value, text, now));
        break;
      case 'unused-for':
        before.push(now - parseSpan(value, text));
        break;
      case 'type':
        types.add(typeOf(value));
        break;
      case 'id':
        ids.push(value);
        break;
      default:
        throw invalid(text, 'until=, unused-for=, type= or id=');
    }
  }
  return {
    ...(before.length === 0 ? {} : { usedBefore: Math.min(...before) }),
    ...(types.size === 0 ? {} : { types }),
    ...(ids.length === 0 ? {} : { ids }),
  };
}

function typeOf(value: string): UnitType {
  const known = UNIT_TYPES.filter((type) => type !== 'image' && type !== 'orphan').find(
    (type) => type === value,
  );
  if (known !== undefined) return known;
  throw new TsbuildError('USAGE', `the cache has nothing of the type ${JSON.stringify(value)}`, {
    hint: 'use regular, internal, exec.cachemount or source.git.checkout',
  });
}

export interface LabelledThing {
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly created: number;
}

export type ThingFilter = (thing: LabelledThing) => boolean;

/** `until`, `label`, `label!`: all must match. `others`: keys that the caller reads itself. Throws USAGE. */
export function parseThingFilters(texts: readonly string[], now: number): ThingFilter {
  const filters = texts.map((text): ThingFilter => {
    const { key, value } = splitFilter(text);
    switch (key) {
      case 'until': {
        const before = parseMoment(value, text, now);
        return ({ created }) => created < before;
      }
      case 'label':
        return ({ labels }) => hasLabel(labels, value);
      case 'label!':
        return ({ labels }) => !hasLabel(labels, value);
      default:
        throw invalid(text, 'until=, label= or label!=');
    }
  });
  return (thing) => filters.every((filter) => filter(thing));
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const name = at < 0 ? wanted : wanted.slice(0, at);
  return Object.hasOwn(labels, name) && (at < 0 || labels[name] === wanted.slice(at + 1));
}

function splitFilter(text: string): { readonly key: string; readonly value: string } {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw invalid(text, 'KEY=VALUE');
  return { key: text.slice(0, at), value: text.slice(at + 1) };
}

function invalid(text: string, hint: string): TsbuildError {
  return new TsbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, { hint: `use ${hint}` });
}

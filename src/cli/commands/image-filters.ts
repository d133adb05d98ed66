/** `images --filter` and `images NAME`. */
import { TsbuildError } from '../../base/errors.ts';
import type { StoredImage } from '../../image/image-store.ts';
import { matchGlob } from './name-glob.ts';

export type ImageFilter = (
  image: StoredImage,
  tag: string | undefined,
  all: readonly StoredImage[],
) => boolean;

/** All filters of one key are alternatives; different keys must all match. Throws USAGE. */
export function parseImageFilters(texts: readonly string[]): ImageFilter {
  const byKey = new Map<string, ImageFilter[]>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const [key, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
    byKey.set(key, [...(byKey.get(key) ?? []), imageFilter(text, key, value)]);
  }
  return (image, tag, all) =>
    [...byKey].every(([key, filters]) =>
      key === 'label'
        ? filters.every((filter) => filter(image, tag, all))
        : filters.some((filter) => filter(image, tag, all)),
    );
}

function imageFilter(text: string, key: string, value: string): ImageFilter {
  switch (key) {
    case 'dangling':
      if (!/^(?:true|false|0|1)$/.test(value)) break;
      return (_, tag) => (tag === undefined) === /^(?:true|1)$/.test(value);
    case 'label': {
      const [name, expected] = splitOnce(value);
      return ({ config }) => {
        const labels = config.config.Labels ?? {};
        return Object.hasOwn(labels, name) && (expected === undefined || labels[name] === expected);
      };
    }
    case 'reference':
      return (_, tag) => tag !== undefined && matchesName(tag, value);
    case 'before':
    case 'since':
      return (image, _, all) => {
        const other = all.find((each) => each.tags.includes(withTag(value)) || idMatches(each.id, value));
        const order = (image.config.created ?? '').localeCompare(other?.config.created ?? '');
        return other !== undefined && (key === 'before' ? order < 0 : order > 0);
      };
  }
  throw new TsbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
    hint: 'use dangling=, label=, reference=, before= or since=',
  });
}

function splitOnce(text: string): readonly [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function withTag(name: string): string {
  return /:[^/]*$/.test(name) ? name : `${name}:latest`;
}

function idMatches(id: string, prefix: string): boolean {
  return /^[\da-f]{4,}$/.test(prefix) && id.slice('sha256:'.length).startsWith(prefix);
}

/** A repository matches all its tags; `*` stands for anything but a slash. */
export function matchesName(tag: string | undefined, pattern: string): boolean {
  if (tag === undefined) return false;
  const whole = /:[^/]*$/.test(pattern);
  const shown = whole ? tag : tag.slice(0, tag.lastIndexOf(':'));
  return (
    matchGlob(pattern, shown) ||
    (!pattern.includes('/') && matchGlob(pattern, shown.slice(shown.lastIndexOf('/') + 1)))
  );
}

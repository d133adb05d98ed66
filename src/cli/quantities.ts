/** Sizes and times as people write them. */
import { TsbuildError } from '../base/errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  ...{ '': 1, b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30 },
  t: 2 ** 40,
};
const TIMES: Readonly<Record<string, number>> = { ms: 0.001, s: 1, '': 1, m: 60, h: 3600 };

/** `16m` is 16 MiB. Throws USAGE, naming what it is about. */
export function parseBytes(text: string, what: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})(?:([kmgt])i?b?|b)?$/i.exec(text) ?? [];
  const size = Number(digits) * (UNITS[unit.toLowerCase()] ?? 1);
  if (digits === '' || size === 0)
    throw new TsbuildError('USAGE', `invalid ${what} ${JSON.stringify(text)}`, {
      hint: 'write a number of bytes, or e.g. 16m',
    });
  return size;
}

/** Seconds: `500ms`, `2s`, `1.5`, `5m`. */
export function parseSeconds(text: string, what: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (digits === '')
    throw new TsbuildError('USAGE', `invalid ${what} ${JSON.stringify(text)}`, {
      hint: 'write seconds, or e.g. 500ms, 30s, 5m',
    });
  return Number(digits) * (TIMES[unit] ?? 1);
}

const SPAN_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of `24h`, `1h30m`, `7d`: Go's durations, and days and weeks. Throws USAGE. */
export function parseSpan(text: string, what: string): number {
  const parts = [...text.matchAll(/(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])/g)];
  if (text === '' || parts.map(([part]) => part).join('') !== text)
    throw new TsbuildError('USAGE', `invalid duration in ${JSON.stringify(what)}`, {
      hint: 'write e.g. 30m, 24h, 7d',
    });
  return parts.reduce(
    (sum, [, digits = '0', unit = '']) => sum + Number(digits) * (SPAN_UNITS[unit] ?? 0),
    0,
  );
}

/** Milliseconds since the epoch of a time (RFC 3339, a date, seconds since the epoch), or of a duration ago. Throws USAGE. */
export function parseMoment(text: string, what: string, now: number): number {
  if (/^\d{6,12}(?:\.\d{1,9})?$/.test(text)) return Number(text) * 1000;
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return now - parseSpan(text, what);
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new TsbuildError('USAGE', `invalid time in ${JSON.stringify(what)}`, {
    hint: 'write e.g. 24h, 2026-01-31 or 2026-01-31T12:00:00Z',
  });
}

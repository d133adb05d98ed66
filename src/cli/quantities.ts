/** Sizes and times as people write them. */
import { TsbuildError } from '../base/errors.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30 };
const TIMES: Readonly<Record<string, number>> = { ms: 0.001, s: 1, '': 1, m: 60, h: 3600 };

/** `16m` is 16 MiB. Throws USAGE, naming what it is about. */
export function parseBytes(text: string, what: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})(?:([kmg])i?b?|b)?$/i.exec(text) ?? [];
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

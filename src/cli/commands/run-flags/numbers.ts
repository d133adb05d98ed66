/** Sizes, numbers and durations as flags write them. Source: docker/go-units, Go's time.ParseDuration. */

const UNITS = 'bkmgtp';

/** `512m`, `1.5GiB`, `100`: bytes; undefined for anything else, and for what no number can hold. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,19}(?:\.\d{1,9})?) ?(?:([kmgtp])i?b?|b)?$/i.exec(text);
  if (match === null) return undefined;
  const power = UNITS.indexOf((match[2] ?? 'b').toLowerCase());
  const size = Math.floor(Number(match[1]) * 1024 ** power);
  return Number.isSafeInteger(size) ? size : undefined;
}

/** A decimal integer, with a sign where `signed`. */
export function parseInteger(text: string, { signed }: { readonly signed: boolean }): number | undefined {
  if (!(signed ? /^[+-]?\d{1,16}$/ : /^\d{1,16}$/).test(text)) return undefined;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** `1.5` processors as billionths. */
export function parseNanoCpus(text: string): number | undefined {
  if (!/^\d{1,6}(?:\.\d{0,9})?$|^\.\d{1,9}$/.test(text)) return undefined;
  return Math.round(Number(text) * 1e9);
}

const NANOSECONDS: Readonly<Record<string, number>> = {
  ...{ ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 },
};

/** `1m30s` in nanoseconds, as Go reads it; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1;
  const rest = text.replace(/^[+-]/, '');
  if (rest === '0') return 0;
  if (rest.length > 64 || !/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(rest))
    return undefined;
  let total = 0;
  for (const [, number, unit] of rest.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g))
    total += Number(number) * (NANOSECONDS[unit ?? ''] ?? 0);
  return Number.isFinite(total) ? sign * Math.round(total) : undefined;
}

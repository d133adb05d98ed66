/** Go's Printf for the verbs that templates use: v s q d x X o b c U t e f g T %, with flags, width, precision. */
import { MAX_WIDTH, templateError } from './limits.ts';
import { kindOf, printInner, type Value } from './values.ts';

const VERB = /%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?([a-zA-Z%])?/g;

interface Layout {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
}

export function printf(format: string, args: readonly Value[]): string {
  let next = 0;
  const star = (text: string | undefined): number | undefined => {
    const number = text === '*' ? args[next++] : text === undefined ? undefined : Number(text);
    if (number === undefined) return undefined;
    if (typeof number !== 'number' || Math.abs(number) > MAX_WIDTH)
      throw templateError('executing "" at <printf>: width out of range');
    return number;
  };
  const shown = format.replace(
    VERB,
    (whole: string, flags: string, width?: string, precision?: string, verb?: string) => {
      if (verb === '%') return '%';
      if (verb === undefined) return '%!(NOVERB)';
      const wide = star(width) ?? 0;
      const hasPrecision = whole.includes('.');
      const layout = { flags, width: wide, precision: star(precision) ?? (hasPrecision ? 0 : undefined) };
      if (next >= args.length) return `%!${verb}(MISSING)`;
      return padded(formatOne(verb, args[next++], layout), verb, layout);
    },
  );
  if (next >= args.length) return shown;
  const extra = args.slice(next).map((arg) => `${goType(arg)}=${printInner(arg)}`);
  return `${shown}%!(EXTRA ${extra.join(', ')})`;
}

function padded(text: string, verb: string, { flags, width }: Layout): string {
  const left = flags.includes('-') || width < 0;
  const size = Math.abs(width);
  if (left) return text.padEnd(size);
  if (!flags.includes('0') || !/[dxXobefgFG]/.test(verb)) return text.padStart(size);
  const sign = /^[+-]/.exec(text)?.[0] ?? '';
  return sign + text.slice(sign.length).padStart(size - sign.length, '0');
}

function formatOne(verb: string, value: Value, { flags, precision }: Layout): string {
  const bad = `%!${verb}(${goType(value)}=${printInner(value)})`;
  const signed = (number: number, text: string): string =>
    number >= 0 && flags.includes('+') ? `+${text}` : text;
  const cut = (text: string): string =>
    precision === undefined ? text : [...text].slice(0, precision).join('');
  if (verb === 'v') return typeof value === 'number' ? signed(value, printInner(value)) : printInner(value);
  if (verb === 'T') return goType(value);
  if (verb === 't') return typeof value === 'boolean' ? String(value) : bad;
  if (verb === 's' || verb === 'q') return formatText(verb, value, cut) ?? bad;
  if (typeof value === 'string' && (verb === 'x' || verb === 'X')) {
    const hex = Buffer.from(cut(value)).toString('hex');
    return verb === 'X' ? hex.toUpperCase() : hex;
  }
  if (typeof value !== 'number' && typeof value !== 'bigint') return bad;
  if (/[efgFG]/.test(verb)) return signed(Number(value), formatFloat(verb, Number(value), precision));
  return formatInteger(verb, value, flags, signed) ?? bad;
}

function formatText(verb: string, value: Value, cut: (text: string) => string): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return undefined;
  const text = cut(printInner(value));
  return verb === 'q' ? JSON.stringify(text) : text;
}

function formatFloat(verb: string, value: number, precision: number | undefined): string {
  const digits = Math.min(precision ?? 6, 100);
  if (verb === 'f' || verb === 'F') return value.toFixed(digits);
  const twoDigits = (text: string): string => text.replace(/e([+-])(\d)$/, 'e$10$2');
  if (verb === 'e') return twoDigits(value.toExponential(digits));
  return twoDigits(
    precision === undefined ? String(value) : String(Number(value.toPrecision(Math.max(1, digits)))),
  );
}

function formatInteger(
  verb: string,
  value: number | bigint,
  flags: string,
  signed: (number: number, text: string) => string,
): string | undefined {
  if (typeof value === 'number' && !Number.isInteger(value)) return undefined;
  const radix = { d: 10, x: 16, X: 16, o: 8, b: 2 }[verb];
  if (radix !== undefined) {
    const text = value.toString(radix);
    const prefix = flags.includes('#') ? ({ x: '0x', X: '0X', o: '0', b: '0b' }[verb] ?? '') : '';
    return signed(Number(value), prefix + (verb === 'X' ? text.toUpperCase() : text));
  }
  const code = Number(value);
  if (code < 0 || code > 0x10ffff) return undefined;
  if (verb === 'c') return String.fromCodePoint(code);
  return verb === 'U' ? `U+${code.toString(16).toUpperCase().padStart(4, '0')}` : undefined;
}

function goType(value: Value): string {
  const kind = kindOf(value);
  return kind === 'nil'
    ? '<nil>'
    : kind === 'slice'
      ? '[]interface {}'
      : kind === 'map'
        ? 'map[string]interface {}'
        : kind;
}

/**
 * Functions of templates: Go's own and docker's (templates.go of docker/cli: json, split, join, title, lower,
 * upper, pad, truncate).
 */
import { MAX_WIDTH, templateError } from './limits.ts';
import { printf } from './printf.ts';
import {
  isList,
  isMap,
  isStruct,
  isTrue,
  kindOf,
  printInner,
  toJson,
  type Method,
  type Value,
} from './values.ts';

export function isFunction(name: string): boolean {
  return FUNCTIONS.has(name);
}

const HTML: Readonly<Record<string, string>> = {
  ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;', '\0': '\uFFFD' },
};

/** docker's `json` leaves `<`, `>` and `&` as they are. */
function json(value: Value): string {
  return JSON.stringify(toJson(value));
}

function fail(name: string, detail: string): never {
  throw templateError(`executing "" at <${name}>: error calling ${name}: ${detail}`);
}

/** A function of exactly `count` arguments. */
function fixed(name: string, count: number, call: Method): readonly [string, Method] {
  return [
    name,
    (...args) => {
      if (args.length !== count)
        throw templateError(
          `executing "" at <${name}>: wrong number of args for ${name}: want ${count} got ${args.length}`,
        );
      return call(...args);
    },
  ];
}

function text(name: string, value: Value): string {
  if (typeof value === 'string') return value;
  throw templateError(
    `executing "" at <${name}>: wrong type for value; expected string; got ${kindOf(value)}`,
  );
}

function integer(name: string, value: Value): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw templateError(`executing "" at <${name}>: wrong type for value; expected int; got ${kindOf(value)}`);
}

function length(value: Value): number {
  if (isList(value)) return value.length;
  if (isMap(value)) return value.size;
  // Go counts bytes.
  if (typeof value === 'string') return Buffer.byteLength(value);
  return fail(
    'len',
    value === null || value === undefined ? 'len of nil pointer' : `len of type ${kindOf(value)}`,
  );
}

function index(collection: Value, ...keys: readonly Value[]): Value {
  return keys.reduce<Value>((holder, key) => {
    if (isMap(holder)) {
      const value = holder.get(text('index', key));
      // The zero value: in what is shown, maps hold texts unless they hold something else.
      return value === undefined
        ? [...holder.values()].every((each) => typeof each === 'string')
          ? ''
          : null
        : value;
    }
    if (isList(holder) || typeof holder === 'string') {
      const at = integer('index', key);
      if (at < 0 || at >= length(holder)) return fail('index', `index out of range: ${at}`);
      return typeof holder === 'string' ? Buffer.from(holder)[at] : holder[at];
    }
    if (isStruct(holder) && typeof key === 'string' && Object.hasOwn(holder, key)) return holder[key];
    if (holder === null || holder === undefined) return fail('index', 'index of untyped nil');
    return fail('index', `can't index item of type ${kindOf(holder)}`);
  }, collection);
}

function slice(value: Value, ...bounds: readonly Value[]): Value {
  const [from = 0, to] = bounds.map((bound) => integer('slice', bound));
  if (!isList(value) && typeof value !== 'string')
    return fail('slice', `can't slice item of type ${kindOf(value)}`);
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const end = to ?? bytes.length;
  if (from < 0 || end > bytes.length || from > end) return fail('slice', `index out of range: ${end}`);
  return typeof value === 'string'
    ? Buffer.from(value).subarray(from, end).toString()
    : value.slice(from, end);
}

function isEqual(a: Value, b: Value): boolean {
  if (isList(a) || isMap(a) || isStruct(a)) return fail('eq', 'non-comparable type');
  if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === (b ?? null);
  if (typeof a !== typeof b) return fail('eq', 'incompatible types for comparison');
  return a === b;
}

function isLess(name: string, a: Value, b: Value): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  if (typeof a === 'string' && typeof b === 'string')
    return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
  return fail(
    name,
    typeof a === typeof b ? 'invalid type for comparison' : 'incompatible types for comparison',
  );
}

/** Go's Sprint: a space between operands of which neither is a string. */
function sprint(args: readonly Value[]): string {
  return args.reduce<string>((shown, arg, at) => {
    const apart = at > 0 && typeof arg !== 'string' && typeof args[at - 1] !== 'string';
    return `${shown}${apart ? ' ' : ''}${printInner(arg)}`;
  }, '');
}

/** Pads a value that is not empty with spaces on both sides. */
function pad(value: Value, before: Value, after: Value): string {
  const shown = text('pad', value);
  const [left, right] = [integer('pad', before), integer('pad', after)];
  if (left < 0 || right < 0 || left > MAX_WIDTH || right > MAX_WIDTH)
    return fail('pad', 'strings: negative Repeat count');
  return shown === '' ? '' : `${' '.repeat(left)}${shown}${' '.repeat(right)}`;
}

function join(list: Value, separator: Value): string {
  if (!isList(list)) throw templateError('executing "" at <join>: wrong type for value; expected []string');
  return list.map(printInner).join(text('join', separator));
}

export const FUNCTIONS: ReadonlyMap<string, Method> = new Map<string, Method>([
  fixed('json', 1, json),
  fixed('split', 2, (value, separator) => text('split', value).split(text('split', separator))),
  fixed('join', 2, join),
  fixed('title', 1, (value) =>
    text('title', value).replace(
      /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
      (_, before: string, letter: string) => `${before}${letter.toUpperCase()}`,
    ),
  ),
  fixed('lower', 1, (value) => text('lower', value).toLowerCase()),
  fixed('upper', 1, (value) => text('upper', value).toUpperCase()),
  fixed('pad', 3, pad),
  fixed('truncate', 2, (value, size) =>
    text('truncate', value).slice(0, Math.max(0, integer('truncate', size))),
  ),
  fixed('len', 1, length),
  ['index', index],
  ['slice', slice],
  ['print', (...args) => sprint(args)],
  ['println', (...args) => `${args.map(printInner).join(' ')}\n`],
  ['printf', (format, ...args) => printf(text('printf', format), args)],
  ['html', (...args) => sprint(args).replace(/[&<>"'\0]/g, (char) => HTML[char] ?? char)],
  [
    'js',
    (...args) =>
      JSON.stringify(sprint(args))
        .slice(1, -1)
        .replace(/[<>&'=]/g, (char) => `\\u00${char.charCodeAt(0).toString(16).toUpperCase()}`),
  ],
  ['urlquery', (...args) => encodeURIComponent(sprint(args)).replaceAll('%20', '+')],
  fixed('not', 1, (value) => !isTrue(value)),
  [
    'eq',
    (first, ...others) =>
      others.length === 0
        ? fail('eq', 'missing argument for comparison')
        : others.some((each) => isEqual(first, each)),
  ],
  fixed('ne', 2, (a, b) => !isEqual(a, b)),
  fixed('lt', 2, (a, b) => isLess('lt', a, b)),
  fixed('le', 2, (a, b) => isLess('le', a, b) || isEqual(a, b)),
  fixed('gt', 2, (a, b) => !isLess('gt', a, b) && !isEqual(a, b)),
  fixed('ge', 2, (a, b) => !isLess('ge', a, b)),
  // Evaluated in execute.ts, as they need not look at all their arguments.
  ['and', () => undefined],
  ['or', () => undefined],
]);

/**
 * Values of templates, with Go's ideas of truth, order and printing (fmt's %v, text/template's IsTrue).
 *
 * A plain object stands for a struct, a Map for a map; `undefined` is the value of a missing key.
 */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly Value[]
  | ReadonlyMap<string, Value>
  | Struct
  | Method;

export interface Struct {
  readonly [field: string]: Value;
}

export type Method = (...args: readonly Value[]) => Value;

export function isMap(value: Value): value is ReadonlyMap<string, Value> {
  return value instanceof Map;
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isStruct(value: Value): value is Struct {
  return typeof value === 'object' && value !== null && !isList(value) && !isMap(value);
}

/** Go's map of a plain object: unknown keys of it print `<no value>`, and its keys are sorted. */
export function mapOf(record: Readonly<Record<string, Value>>): ReadonlyMap<string, Value> {
  return new Map(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function isTrue(value: Value): boolean {
  if (isList(value)) return value.length > 0;
  if (isMap(value)) return value.size > 0;
  return typeof value === 'object' ? value !== null : Boolean(value);
}

export function sortedEntries(map: ReadonlyMap<string, Value>): readonly (readonly [string, Value])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** As `%v`, but for what text/template prints for nothing. */
export function print(value: Value): string {
  return value === undefined ? '<no value>' : printInner(value);
}

export function printInner(value: Value): string {
  if (value === undefined || value === null) return '<nil>';
  if (typeof value === 'number') return printNumber(value);
  if (typeof value === 'function') return '<method>';
  if (isList(value)) return `[${value.map(printInner).join(' ')}]`;
  if (isMap(value))
    return `map[${sortedEntries(value)
      .map(([key, each]) => `${key}:${printInner(each)}`)
      .join(' ')}]`;
  if (isStruct(value)) return `{${Object.values(value).map(printInner).join(' ')}}`;
  return String(value);
}

function printNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value).replace(/e([+-])(\d)$/, 'e$10$2');
}

/** What JSON.stringify understands; keys of maps sorted, methods left out. */
export function toJson(value: Value): unknown {
  if (value === undefined || typeof value === 'function') return null;
  if (typeof value === 'bigint') return Number(value);
  if (isList(value)) return value.map(toJson);
  if (isMap(value)) return ownObject(sortedEntries(value));
  if (isStruct(value)) return ownObject(Object.entries(value));
  return value;
}

/** why: a key "__proto__" of a label must stay a key. */
function ownObject(entries: readonly (readonly [string, Value])[]): object {
  const result: object = {};
  for (const [key, each] of entries)
    if (each !== undefined && typeof each !== 'function')
      Object.defineProperty(result, key, {
        value: toJson(each),
        enumerable: true,
        configurable: true,
        writable: true,
      });
  return result;
}

/** Go's name of a value's kind, for messages. */
export function kindOf(value: Value): string {
  if (value === undefined || value === null) return 'nil';
  if (isList(value)) return 'slice';
  if (isMap(value)) return 'map';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  if (typeof value === 'bigint') return 'int64';
  return typeof value === 'object' ? 'struct' : typeof value === 'function' ? 'func' : 'string';
}

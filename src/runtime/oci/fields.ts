/** Reading documents from outside: a JSON object with its place, whose accessors name what is wrong with a member. */
import { readFileSync, statSync } from 'node:fs';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../base/json.ts';

const MAX_BYTES = 16 << 20;

export class Fields {
  readonly object: JsonObject;
  /** `linux.resources`; empty for the document itself. */
  readonly place: string;

  constructor(object: JsonObject, place: string) {
    this.object = object;
    this.place = place;
  }

  nameOf(name: string): string {
    return this.place === '' ? name : `${this.place}.${name}`;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /**
   * null counts as absent, as Go's encoder writes it; and where there is no member of the name, one that differs in
   * case counts, as Go's decoder reads it: people write configs that other runtimes understand.
   */
  raw(name: string): Json | undefined {
    const value = this.object[name];
    if (value !== undefined) return value ?? undefined;
    const wanted = name.toLowerCase();
    const alike = Object.keys(this.object).find((key) => key.toLowerCase() === wanted);
    return alike === undefined ? undefined : (this.object[alike] ?? undefined);
  }

  text(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.#wrong(name, 'a string');
  }

  number(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'number') return value;
    throw this.#wrong(name, 'a number');
  }

  flag(name: string): boolean {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'boolean') return value ?? false;
    throw this.#wrong(name, 'true or false');
  }

  texts(name: string): readonly string[] {
    const value = this.raw(name) ?? [];
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
    throw this.#wrong(name, 'a list of strings');
  }

  numbers(name: string): readonly number[] {
    const value = this.raw(name) ?? [];
    if (Array.isArray(value) && value.every((each) => typeof each === 'number')) return value;
    throw this.#wrong(name, 'a list of numbers');
  }

  /** Absent: an empty one. */
  fields(name: string): Fields {
    const value = this.raw(name) ?? {};
    if (isJsonObject(value)) return new Fields(value, this.nameOf(name));
    throw this.#wrong(name, 'an object');
  }

  list(name: string): readonly Fields[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list');
    return (value as readonly Json[]).map((each, index) => {
      if (isJsonObject(each)) return new Fields(each, `${this.nameOf(name)}[${index}]`);
      throw this.#wrong(`${name}[${index}]`, 'an object');
    });
  }

  /** An object whose values are strings. */
  record(name: string): Readonly<Record<string, string>> {
    const inner = this.fields(name);
    return Object.fromEntries(Object.keys(inner.object).map((key) => [key, inner.text(key) ?? '']));
  }

  required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    throw new TsbuildError('SPEC_INVALID', `${this.nameOf(name)} is missing`);
  }

  #wrong(name: string, wanted: string): TsbuildError {
    return new TsbuildError('SPEC_INVALID', `${this.nameOf(name)} must be ${wanted}`);
  }
}

/** Throws SPEC_INVALID for a file that is missing, too large or no JSON object. */
export function readFields(path: string): Fields {
  let text: string;
  try {
    if (statSync(path).size > MAX_BYTES)
      throw new TsbuildError('SPEC_INVALID', `${JSON.stringify(path)} has more than ${MAX_BYTES} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof TsbuildError) throw error;
    const detail = errnoOf(error) === 'ENOENT' ? 'no such file or directory' : String(error);
    throw new TsbuildError('SPEC_INVALID', `cannot read ${JSON.stringify(path)}: ${detail}`, {
      cause: error,
    });
  }
  return parseFields(text, path);
}

export function parseFields(text: string, what: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TsbuildError('SPEC_INVALID', `${JSON.stringify(what)} is not JSON: ${String(error)}`, {
      cause: error,
    });
  }
  if (isJsonObject(value)) return new Fields(value, '');
  throw new TsbuildError('SPEC_INVALID', `${JSON.stringify(what)} must hold a JSON object`);
}

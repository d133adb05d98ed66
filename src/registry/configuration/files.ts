/** Reading configuration of registries: TOML and JSON files whose errors name the file, and typed access to them. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readTextIfExists } from '../../base/atomic-file.ts';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import { isJsonObject } from '../../base/json.ts';

export type Table = Readonly<Record<string, unknown>>;

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function invalid(path: string, what: string, hint?: string): TsbuildError {
  return new TsbuildError(
    'CONFIG_INVALID',
    `${JSON.stringify(path)}: ${what}`,
    hint === undefined ? {} : { hint },
  );
}

/** undefined where there is no such file. */
export async function readToml(path: string): Promise<Table | undefined> {
  const text = readTextIfExists(path);
  if (text === undefined) return undefined;
  const { parse, TomlError } = await import('../toml.ts');
  try {
    return parse(text);
  } catch (error) {
    const place = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : '';
    throw invalid(path, `it is not TOML${place}`);
  }
}

export function readJson(path: string): Table | undefined {
  const text = readTextIfExists(path);
  if (text === undefined || text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(path, 'it is not JSON');
  }
  if (!isJsonObject(value)) throw invalid(path, 'it is not a JSON object');
  return value;
}

/** Names in a directory, sorted; none where it does not exist. */
export function namesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw ioError(`read ${JSON.stringify(directory)}`, error);
  }
}

export function textIn(table: Table, key: string, path: string): string | undefined {
  const value = table[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(path, `${key} is not a string`);
  return value;
}

export function booleanIn(table: Table, key: string, path: string): boolean | undefined {
  const value = table[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'boolean') throw invalid(path, `${key} is not true or false`);
  return value;
}

export function textsIn(table: Table, key: string, path: string): readonly string[] {
  const value = table[key] ?? [];
  const list: readonly unknown[] = typeof value === 'string' ? [value] : Array.isArray(value) ? value : [0];
  if (!list.every((each) => typeof each === 'string')) throw invalid(path, `${key} is no list of strings`);
  return list;
}

export function tablesIn(table: Table, key: string, path: string): readonly Table[] {
  const value = table[key] ?? [];
  if (!Array.isArray(value) || !value.every(isTable)) throw invalid(path, `${key} is no list of tables`);
  return value;
}

/** A path in a configuration file counts from the file's directory. */
export function besides(directory: string, path: string): string {
  return path.startsWith('/') ? path : join(directory, path);
}

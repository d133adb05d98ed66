/**
 * tsbuild's own configuration: `/etc/tsbuild/config.toml`, or the file that TSBUILD_CONFIG names.
 *
 *   [storage]
 *   max = "20g"
 */
import { existsSync } from 'node:fs';
import { invalid, isTable, readToml, type Table } from '../registry/configuration/files.ts';

const DEFAULT_FILE = '/etc/tsbuild/config.toml';

export interface Configuration {
  /** `storage.max`, as written. */
  readonly storageMax?: string;
}

/** Where it is read from, whether it is there or not. */
export function configurationFile(env: Readonly<Record<string, string | undefined>>): string {
  const named = env['TSBUILD_CONFIG'] ?? '';
  return named === '' ? DEFAULT_FILE : named;
}

/** Nothing is loaded where there is no file. Throws CONFIG_INVALID. */
export async function readConfiguration(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Configuration> {
  const file = configurationFile(env);
  const isNamed = file === env['TSBUILD_CONFIG'];
  if (!existsSync(file) && !isNamed) return {};
  const document = await readToml(file);
  if (document === undefined) throw invalid(file, 'there is no such file', 'mend TSBUILD_CONFIG');
  const { storage = {} } = only(document, ['storage'], '', file);
  if (!isTable(storage)) throw invalid(file, 'storage is no table');
  const { max } = only(storage, ['max'], 'storage.', file);
  if (max === undefined) return {};
  if (typeof max !== 'string' && typeof max !== 'number' && typeof max !== 'bigint')
    throw invalid(file, 'storage.max is neither a size such as "20g" nor a number of bytes');
  return { storageMax: String(max) };
}

/** A name that nobody reads is a typing error. */
function only(table: Table, known: readonly string[], prefix: string, file: string): Table {
  for (const name of Object.keys(table))
    if (!known.includes(name))
      throw invalid(
        file,
        `${prefix}${name} is nothing that tsbuild knows`,
        `write ${known.map((each) => `${prefix}${each}`).join(' or ')}`,
      );
  return table;
}

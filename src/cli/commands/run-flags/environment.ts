/** `--env`, `--env-file`, `--label`, `--label-file`, `--annotation`. Source: docker/cli, opts/{env,file}.go, kvfile. */
import { badFlag, badFlags } from './bad-flag.ts';
import { splitPair } from './fields.ts';

type Lookup = Readonly<Record<string, string | undefined>>;
/** Reads a file of the user's, bounded; throws what Node throws. */
export type ReadFile = (path: string) => string;

/**
 * Later ones win; a name alone takes its value from `lookup`. What is not there either stays a name alone, of a flag:
 * the container shall not have it (`mergeEnv`).
 */
export function parseEnvironment(
  given: { readonly files: readonly string[]; readonly values: readonly string[] },
  lookup: Lookup,
  read: ReadFile,
): readonly string[] {
  return [
    ...given.files.flatMap((path) =>
      readPairs(path, '--env-file', read).flatMap((line) => entry(line, lookup)),
    ),
    ...given.values.flatMap((text) => {
      if (text === '' || text.startsWith('='))
        throw badFlag('-e, --env', text, `invalid environment variable: ${text}`);
      const found = entry(text, lookup);
      return found.length === 0 ? [text] : found;
    }),
  ];
}

function entry(text: string, lookup: Lookup): readonly string[] {
  const [name, value] = splitPair(text);
  if (value !== undefined) return [text];
  const inherited = Object.hasOwn(lookup, name) ? lookup[name] : undefined;
  return inherited === undefined ? [] : [`${name}=${inherited}`];
}

/** Lines `NAME=VALUE` or `NAME`; `#` begins a comment. Throws USAGE. */
export function readPairs(path: string, flag: string, read: ReadFile): readonly string[] {
  return readText(path, flag, read)
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((line) => line.trimStart().replace(/\r$/, ''))
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name] = splitPair(line);
      if (/\s/.test(name))
        throw badFlags(`${flag} ${path}: variable '${name}' contains whitespaces`, 'write NAME=VALUE');
      if (name === '')
        throw badFlags(`${flag} ${path}: no variable name on line '${line}'`, 'write NAME=VALUE');
      return line;
    });
}

function readText(path: string, flag: string, read: ReadFile): string {
  try {
    return read(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badFlags(`cannot read ${flag} ${JSON.stringify(path)}: ${reason}`, 'name a file that can be read');
  }
}

/** A name without a value has the empty one. Throws USAGE. */
export function parseLabels(
  flag: string,
  values: readonly string[],
  files: readonly string[] = [],
  read: ReadFile = () => '',
): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const text of [...files.flatMap((path) => readPairs(path, `${flag}-file`, read)), ...values]) {
    const [name, value = ''] = splitPair(text);
    if (name === '') throw badFlag(flag, text, `invalid label '${text}': empty name`);
    labels.set(name, value);
  }
  return Object.fromEntries(labels);
}

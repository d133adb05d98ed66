/**
 * Command-line flags from one table per command: what parses is what --help shows.
 *
 * Flags as docker's: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, bundled booleans (`-it`), `--` ends them.
 */
import { TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';

export interface FlagSpec {
  /** `optional` has its value after `=`, or none: `--flag`, `--flag=a,b`. */
  readonly kind: 'boolean' | 'text' | 'list' | 'optional';
  readonly short?: string;
  /** A boolean that is true unless `--flag=false` is given. */
  readonly initially?: true;
  /** Placeholder of the value. */
  readonly value?: string;
  readonly help: string;
}

export type FlagTable = Readonly<Record<string, FlagSpec>>;

export interface CommandSpec {
  readonly name: string;
  /** After the name, e.g. `[OPTIONS] CONTEXT`. */
  readonly usage: string;
  readonly summary: string;
  readonly flags: FlagTable;
  /** Flags end at the first word that is none (`run IMAGE -x` belongs to the command). */
  readonly stopAtFirst?: boolean;
  readonly minimum: number;
  readonly maximum: number;
}

export interface ParsedFlags {
  boolean(name: string): boolean;
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  has(name: string): boolean;
  /** Of the flags that were given, or are set from the start. */
  readonly names: readonly string[];
  readonly words: readonly string[];
}

export const GLOBAL_FLAGS: FlagTable = {
  root: { kind: 'text', value: 'DIR', help: 'directory of all state (also TSBUILD_ROOT)' },
  'storage-max': {
    kind: 'text',
    value: 'SIZE',
    help: 'what builds and pulls may leave below --root (also TSBUILD_STORAGE_MAX, and storage.max of the configuration)',
  },
  'storage-driver': {
    kind: 'text',
    value: 'NAME',
    help: 'how file systems are kept: erofs, overlay, fuse-overlayfs, btrfs or copy (also TSBUILD_STORAGE_DRIVER; default: the best that works)',
  },
  'insecure-registry': {
    kind: 'list',
    value: 'HOST',
    help: 'registry without TLS, or with a certificate that cannot be checked',
  },
  'registry-ca': { kind: 'list', value: 'HOST=FILE', help: 'certificate authority of a registry' },
  debug: { kind: 'boolean', help: 'show stacks of errors' },
  help: { kind: 'boolean', short: 'h', help: 'show this help' },
};

/** Throws USAGE. */
export function parseFlags(spec: CommandSpec, argv: readonly string[]): ParsedFlags {
  const table: FlagTable = { ...spec.flags, ...GLOBAL_FLAGS };
  const shorts = new Map(
    // A command's own letter wins: -h of run is --hostname.
    Object.entries({ ...GLOBAL_FLAGS, ...spec.flags }).flatMap(([name, { short }]) =>
      short === undefined ? [] : [[short, name] as const],
    ),
  );
  const values = new Map<string, string[]>(
    Object.entries(table)
      .filter(([, { initially }]) => initially === true)
      .map(([name]) => [name, ['true']]),
  );
  const words: string[] = [];
  const rest = [...argv];
  const add = (name: string, value: string): void =>
    void values.set(name, [...(values.get(name) ?? []), value]);

  function usage(message: string, hint?: string): TsbuildError {
    return new TsbuildError('USAGE', message, { hint: hint ?? `see "tsbuild ${spec.name} --help"` });
  }

  function valueOf(shown: string, inline: string | undefined): string {
    const value = inline ?? rest.shift();
    if (value === undefined) throw usage(`flag ${shown} needs a value`);
    return value;
  }

  function takeLong(word: string): void {
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const inline = equals < 0 ? undefined : word.slice(equals + 1);
    const flag = table[name];
    if (flag === undefined) {
      const near = suggest(name, Object.keys(table));
      throw usage(
        `unknown flag ${JSON.stringify(`--${name}`)}`,
        near === undefined ? undefined : `did you mean --${near}? see "tsbuild ${spec.name} --help"`,
      );
    }
    if (flag.kind === 'optional') add(name, inline ?? '');
    else if (flag.kind !== 'boolean') add(name, valueOf(`--${name}`, inline));
    else if (inline === undefined || /^(true|1)$/.test(inline)) add(name, 'true');
    else if (!/^(false|0)$/.test(inline))
      throw usage(`flag --${name} is true or false, not ${JSON.stringify(inline)}`);
    else values.delete(name);
  }

  function takeShort(word: string): void {
    for (let at = 1; at < word.length; at += 1) {
      const short = word[at] ?? '';
      const name = shorts.get(short);
      const flag = name === undefined ? undefined : table[name];
      if (name === undefined || flag === undefined)
        throw usage(`unknown flag ${JSON.stringify(`-${short}`)}`);
      if (flag.kind === 'boolean') {
        add(name, 'true');
        continue;
      }
      const inline = word.slice(at + 1).replace(/^=/, '');
      add(name, valueOf(`-${short}`, inline === '' ? undefined : inline));
      return;
    }
  }

  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      words.push(...rest.splice(0));
    } else if (word.startsWith('--')) takeLong(word);
    else if (word.startsWith('-') && word !== '-') takeShort(word);
    else {
      words.push(word);
      if (spec.stopAtFirst === true) words.push(...rest.splice(0));
    }
  }
  if (values.get('help') === undefined) {
    if (words.length < spec.minimum)
      throw usage(
        `"tsbuild ${spec.name}" needs ${spec.minimum === 1 ? 'an argument' : `${spec.minimum} arguments`}: ${spec.usage}`,
      );
    if (words.length > spec.maximum)
      throw usage(`"tsbuild ${spec.name}" has too many arguments: ${JSON.stringify(words[spec.maximum])}`);
  }
  return {
    boolean: (name) => values.has(name),
    text: (name) => values.get(name)?.at(-1),
    list: (name) => values.get(name) ?? [],
    has: (name) => values.has(name),
    names: [...values.keys()],
    words,
  };
}

export function helpText(spec: CommandSpec): string {
  const rows = (table: FlagTable): string[] =>
    Object.entries(table)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { kind, short, value, help }]) => {
        const shown = value === undefined ? '' : kind === 'optional' ? `[=${value}]` : ` ${value}`;
        const left = `  ${short === undefined ? '    ' : `-${short}, `}--${name}${shown}`;
        return `${left.padEnd(36)} ${help}`;
      });
  return [
    `Usage: tsbuild ${spec.name} ${spec.usage}`,
    '',
    spec.summary,
    ...(Object.keys(spec.flags).length === 0 ? [] : ['', 'Options:', ...rows(spec.flags)]),
    '',
    'Global options:',
    ...rows(GLOBAL_FLAGS),
    '',
  ].join('\n');
}

/** `--cache-from` and `--cache-to`: `type=…,name=value`, or references alone. */
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { suggest } from '../../base/suggest.ts';
import type { CacheDestination, CacheSource } from '../../engine/cache/cache-spec.ts';
import type { LayerForm } from '../../layer/layer-form.ts';
import { parseReference, withDefaultTag, type Reference } from '../../oci/reference.ts';
import { readCompressionFields } from './compression-flags.ts';

type Flag = '--cache-from' | '--cache-to';
type Fields = ReadonlyMap<string, string>;

const TYPES = ['registry', 'local', 'inline'];
/** Known to BuildKit, not to us. */
const FOREIGN_TYPES: ReadonlySet<string> = new Set(['gha', 's3', 'azblob']);
const USUAL: LayerForm = { compression: 'gzip' };
const COMPRESSION = ['compression', 'compression-level', 'force-compression'];
/** What BuildKit lets one choose and is so here in any case. */
const GIVEN: ReadonlyMap<string, string> = new Map([
  ['oci-mediatypes', 'true'],
  ['image-manifest', 'true'],
  ['ignore-error', 'true'],
]);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export function parseCacheSources(words: readonly string[], cwd: string): readonly CacheSource[] {
  return words.flatMap((word): readonly CacheSource[] => {
    const fail = failing('--cache-from', word);
    const references = referencesIn(word, fail);
    if (references !== undefined)
      return references.map((reference) => ({ kind: 'registry' as const, reference, mounts: false }));
    const fields = fieldsOf(word, fail);
    const type = typeOf(fields, fail);
    const mounts = booleanOf(fields, 'mounts', fail);
    if (type === 'local') {
      check(fields, ['src', 'tag', 'mounts'], fail);
      return [
        { kind: 'local', directory: directoryOf(fields, 'src', cwd, fail), tag: tagOf(fields, fail), mounts },
      ];
    }
    check(fields, ['ref', 'mounts'], fail);
    return [{ kind: 'registry', reference: referenceOf(fields, fail), mounts }];
  });
}

export function parseCacheDestinations(words: readonly string[], cwd: string): readonly CacheDestination[] {
  return words.flatMap((word): readonly CacheDestination[] => {
    const fail = failing('--cache-to', word);
    const references = referencesIn(word, fail);
    if (references !== undefined)
      return references.map((reference) => ({
        kind: 'registry' as const,
        reference,
        mounts: false,
        mode: 'min' as const,
        form: USUAL,
      }));
    const fields = fieldsOf(word, fail);
    const type = typeOf(fields, fail);
    if (type === 'inline') return [inline(fields, fail)];
    const written = {
      mounts: booleanOf(fields, 'mounts', fail),
      mode: choose(fields, 'mode', ['min', 'max'] as const, fail),
      form: readCompressionFields(fields, `--cache-to ${JSON.stringify(word)}`, USUAL),
    };
    if (type === 'local') {
      check(fields, ['dest', 'tag', 'mounts', 'mode', ...COMPRESSION], fail);
      const directory = directoryOf(fields, 'dest', cwd, fail);
      return [{ kind: 'local', directory, tag: tagOf(fields, fail), ...written }];
    }
    check(fields, ['ref', 'mounts', 'mode', ...COMPRESSION], fail);
    return [{ kind: 'registry', reference: referenceOf(fields, fail), ...written }];
  });
}

/** The image travels as it does without a cache, and nothing but the image does. */
function inline(fields: Fields, fail: Fail): CacheDestination {
  check(fields, ['mode'], fail);
  if (choose(fields, 'mode', ['min', 'max'] as const, fail) === 'max')
    throw fail(
      'an image holds its own layers, and not those of other stages',
      'use mode=min, or type=registry',
    );
  return { kind: 'inline' };
}

type Fail = (message: string, hint?: string) => TsbuildError;

function failing(flag: Flag, word: string): Fail {
  return (message, hint) =>
    new TsbuildError('USAGE', `invalid ${flag} ${JSON.stringify(word)}: ${message}`, {
      hint:
        hint ??
        (flag === '--cache-from'
          ? 'write REF, type=registry,ref=REF or type=local,src=DIRECTORY'
          : 'write REF, type=registry,ref=REF[,mode=max], type=local,dest=DIRECTORY or type=inline'),
    });
}

/** `REF[,REF]…`; undefined where fields are named. */
function referencesIn(word: string, fail: Fail): readonly Reference[] | undefined {
  if (word.includes('=')) return undefined;
  const names = word.split(',').map((name) => name.trim());
  return names.map((name) => reference(name, fail));
}

function reference(name: string, fail: Fail): Reference {
  try {
    const parsed = withDefaultTag(parseReference(name));
    if (parsed.digest === undefined) return parsed;
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
  throw fail('a cache changes, so it is named by a tag', 'write REGISTRY/REPOSITORY[:TAG]');
}

function fieldsOf(word: string, fail: Fail): Fields {
  const fields = new Map<string, string>();
  for (const field of word.split(',')) {
    const equals = field.indexOf('=');
    const name = (equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase();
    if (equals < 0 && name !== 'mounts') throw fail(`${JSON.stringify(field)} has no value`);
    if (fields.has(name)) throw fail(`${name} is given twice`);
    fields.set(name, equals < 0 ? 'true' : field.slice(equals + 1));
  }
  return fields;
}

function typeOf(fields: Fields, fail: Fail): 'registry' | 'local' | 'inline' {
  const type = fields.get('type');
  if (type === undefined) throw fail('type is missing');
  if (type === 'registry' || type === 'local' || type === 'inline') return type;
  if (FOREIGN_TYPES.has(type))
    throw fail(`the type ${JSON.stringify(type)} is not supported`, 'use type=registry, local or inline');
  const near = suggest(type, TYPES);
  throw fail(
    `unknown type ${JSON.stringify(type)}`,
    near === undefined ? 'use type=registry, local or inline' : `did you mean type=${near}?`,
  );
}

function check(fields: Fields, known: readonly string[], fail: Fail): void {
  for (const [name, value] of fields) {
    if (name === 'type' || known.includes(name)) continue;
    const given = GIVEN.get(name);
    if (given === value) continue;
    if (given !== undefined) throw fail(`${name} is ${given} here in any case`, `leave ${name} out`);
    const near = suggest(name, [...known, 'type']);
    throw fail(
      `unknown field ${JSON.stringify(name)}`,
      near === undefined ? undefined : `did you mean ${near}?`,
    );
  }
}

function referenceOf(fields: Fields, fail: Fail): Reference {
  const ref = fields.get('ref');
  if (ref === undefined || ref === '') throw fail('ref is missing');
  return reference(ref, fail);
}

function directoryOf(fields: Fields, name: 'src' | 'dest', cwd: string, fail: Fail): string {
  const directory = fields.get(name);
  if (directory === undefined || directory === '') throw fail(`${name} is missing`);
  return resolve(cwd, directory);
}

function tagOf(fields: Fields, fail: Fail): string {
  const tag = fields.get('tag') ?? 'latest';
  if (!TAG.test(tag)) throw fail(`${JSON.stringify(tag)} is no tag`);
  return tag;
}

function booleanOf(fields: Fields, name: string, fail: Fail): boolean {
  const value = fields.get(name) ?? 'false';
  if (/^(true|1)$/.test(value)) return true;
  if (/^(false|0)$/.test(value)) return false;
  throw fail(`${name} is true or false, not ${JSON.stringify(value)}`);
}

/** The first is the default. */
function choose<T extends string>(fields: Fields, name: string, choices: readonly T[], fail: Fail): T {
  const value = fields.get(name);
  const [first] = choices;
  const chosen = value === undefined ? first : choices.find((each) => each === value);
  if (chosen !== undefined) return chosen;
  throw fail(`unknown ${name} ${JSON.stringify(value)}`, `use ${name}=${choices.join(' or ')}`);
}

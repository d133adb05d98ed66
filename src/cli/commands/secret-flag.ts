/** `--secret id=ID[,src=FILE|,env=NAME]`: checked before anything is built, read when a step asks. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import type { Session } from '../session.ts';

type SecretReader = (id: string) => Promise<Uint8Array | undefined>;

interface Source {
  readonly id: string;
  readonly env?: string;
  readonly path?: string;
}

/** As docker's: larger values are files, not secrets. */
const MAX_SECRET = 500 * 1024;

/** Throws USAGE for a flag that makes no sense, also where no step asks for it. */
export function readSecretFlags(specs: readonly string[], { cwd, env }: Session): SecretReader {
  const sources = new Map(specs.map((spec) => parseSource(spec, env)).map((source) => [source.id, source]));
  for (const { id, path } of sources.values()) if (path !== undefined) checkFile(id, path, cwd);
  // A value is read once: the file may be a pipe.
  const read = new Map<string, Uint8Array>();
  return (id) => {
    const source = sources.get(id);
    const known = read.get(id);
    if (known !== undefined) return Promise.resolve(known);
    if (source === undefined) return Promise.resolve(undefined);
    if (source.env !== undefined) {
      const value = env[source.env];
      return Promise.resolve(value === undefined ? undefined : Buffer.from(value));
    }
    const value = readFileSync(resolve(cwd, source.path ?? id));
    read.set(id, value);
    return Promise.resolve(value);
  };
}

function parseSource(spec: string, env: Session['env']): Source {
  const fail = (message: string): TsbuildError =>
    new TsbuildError('USAGE', `invalid --secret ${JSON.stringify(spec)}: ${message}`, {
      hint: 'write id=ID,src=FILE or id=ID,env=NAME',
    });
  const fields = new Map<string, string>();
  for (const field of spec.split(',')) {
    const equals = field.indexOf('=');
    if (equals < 0) throw fail(`${JSON.stringify(field)} has no value`);
    const key = field.slice(0, equals).trim().toLowerCase();
    if (!['id', 'src', 'source', 'env', 'type'].includes(key))
      throw fail(`unknown key ${JSON.stringify(key)}`);
    fields.set(key, field.slice(equals + 1));
  }
  const id = fields.get('id') ?? '';
  if (id === '') throw fail('the id is missing');
  const type = fields.get('type');
  if (type !== undefined && type !== 'file' && type !== 'env')
    throw fail(`unknown type ${JSON.stringify(type)}`);
  const path = fields.get('src') ?? fields.get('source');
  const name = fields.get('env');
  if (name !== undefined) return { id, env: name };
  // As docker's: without a source, an environment variable of that name, else a file.
  if (path !== undefined && type !== 'env') return { id, path };
  const variable = path ?? id;
  return type !== 'file' && env[variable] !== undefined ? { id, env: variable } : { id, path: variable };
}

function checkFile(id: string, path: string, cwd: string): void {
  const shown = `the secret ${JSON.stringify(id)} from ${JSON.stringify(path)}`;
  try {
    const stat = statSync(resolve(cwd, path));
    if (!stat.isFile() && !stat.isFIFO() && !stat.isCharacterDevice())
      throw new TsbuildError('USAGE', `cannot read ${shown}: it is no file`, {
        hint: 'name a file with src=FILE',
      });
    if (stat.size > MAX_SECRET)
      throw new TsbuildError(
        'USAGE',
        `cannot take ${shown}: it has ${stat.size} bytes, and a secret at most ${MAX_SECRET}`,
      );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw new TsbuildError('USAGE', `cannot read ${shown}: there is no such file`, {
        cause: error,
        hint: 'write id=ID,src=FILE or id=ID,env=NAME',
      });
    throw ioError(`read ${shown}`, error);
  }
}

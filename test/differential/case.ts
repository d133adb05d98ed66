/**
 * A case of the corpus: a folder with a Dockerfile, its build context and `case.json`.
 *
 * Git keeps neither owners nor more of a mode than one bit, so a case is staged before it is built: copied
 * with modes 0644 and 0755 and owner 0:0, whatever the checkout has, and then prepared by the commands of
 * `case.json`. Both builders get a staging of their own, so that neither sees what the other did.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../e2e/fixture.ts';
import type { ExpectedPath } from './expectation.ts';

/** What the two builders are known to do differently, and which of it is right. */
export interface Difference {
  readonly why: string;
  /** Where the behaviour that tsbuild follows is written down or can be seen. */
  readonly source: string;
  /** What buildah does: builds something else (the default), or fails where tsbuild builds, or the reverse. */
  readonly buildah: 'builds' | 'fails';
  /** What must hold for tsbuild. These paths and fields are left out of the comparison. */
  readonly expect: {
    readonly paths?: Readonly<Record<string, ExpectedPath>>;
    readonly config?: Readonly<Record<string, unknown>>;
  };
}

export interface CorpusCase {
  readonly name: string;
  /** The row of the Dockerfile semantics that the case exercises, such as `1.6 Wildcards`. */
  readonly row: string;
  /** Flags that both builders take. `@HTTP@` becomes the address of the case's files on the loopback. */
  readonly args: readonly string[];
  /** Commands run in the staged context, without a shell. */
  readonly prepare: readonly (readonly string[])[];
  /** Images to build first from the same context, by both: Dockerfile → name. */
  readonly bases: Readonly<Record<string, string>>;
  readonly expect: 'ok' | 'fail';
  /** For `fail`: the code of tsbuild's error, and the line of the Dockerfile that it points at. */
  readonly error: { readonly code: string; readonly line?: number } | undefined;
  readonly differs: Difference | undefined;
}

const CASES = join(packageRoot(), 'fixtures', 'dockerfiles');
const FIELDS = ['row', 'args', 'prepare', 'bases', 'expect', 'error', 'differs'];

function readCase(name: string): CorpusCase {
  const text = readFileSync(join(CASES, name, 'case.json'), 'utf8');
  const written = JSON.parse(text) as Partial<CorpusCase>;
  const unknown = Object.keys(written).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0) throw new Error(`${name}: case.json has unknown fields ${unknown.join(', ')}`);
  const { row, expect, error, differs } = written;
  if (row === undefined) throw new Error(`${name}: case.json has no row`);
  if (expect !== 'ok' && expect !== 'fail') throw new Error(`${name}: expect is neither ok nor fail`);
  if ((expect === 'fail') !== (error !== undefined))
    throw new Error(`${name}: a case that fails names its error, and no other does`);
  if (differs !== undefined && (differs.why === '' || differs.source === ''))
    throw new Error(`${name}: a difference needs its reason and source`);
  const { args = [], prepare = [], bases = {} } = written;
  return { name, row, args, prepare, bases, expect, error, differs };
}

export function readCorpus(): readonly CorpusCase[] {
  return readdirSync(CASES).sort().map(readCase);
}

function normalizeModes(path: string): void {
  const entry = lstatSync(path);
  lchownSync(path, 0, 0);
  if (entry.isSymbolicLink()) return;
  const isExecutable = entry.isDirectory() || (entry.mode & 0o100) !== 0;
  chmodSync(path, isExecutable ? 0o755 : 0o644);
  if (entry.isDirectory()) for (const name of readdirSync(path)) normalizeModes(join(path, name));
}

/** Copies the case's context to `directory`, which must not exist, and prepares it. */
export function stageCase({ name, prepare }: CorpusCase, directory: string): void {
  mkdirSync(directory, { recursive: true });
  cpSync(join(CASES, name), directory, { recursive: true, verbatimSymlinks: true });
  rmSync(join(directory, 'case.json'));
  normalizeModes(directory);
  for (const [command = '', ...args] of prepare)
    execFileSync(command, args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
}

/**
 * Where a build's text comes from: the Dockerfile, its ignore file, the directory of the build context.
 *
 * Lookup rules: `Dockerfile`, else `dockerfile`, in the context; `--file` is taken from the working directory.
 * `<Dockerfile's name>.dockerignore` beside the Dockerfile wins over `.dockerignore` in the context.
 */
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';

const MAX_DOCKERFILE = 16 << 20;

export interface DockerfileSource {
  /** As shown to the user. */
  readonly file: string;
  readonly text: string;
  readonly ignoreText?: string;
  readonly ignoreFile?: string;
}

/** Throws CONTEXT_NOT_FOUND unless `directory` is one. */
export function checkContextDirectory(directory: string, shown: string): void {
  let isDirectory: boolean;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR')
      throw ioError(`open the build context ${JSON.stringify(shown)}`, error);
    throw new TsbuildError('CONTEXT_NOT_FOUND', `cannot find the build context ${JSON.stringify(shown)}`, {
      hint: 'give the directory that holds the files to build from, e.g. "."',
    });
  }
  if (!isDirectory)
    throw new TsbuildError(
      'CONTEXT_NOT_FOUND',
      `the build context ${JSON.stringify(shown)} is not a directory`,
      {
        hint: 'give the directory; the Dockerfile itself goes with --file',
      },
    );
}

/** Reads Dockerfile and ignore file. `file` is the value of --file, `cwd` what it is relative to. */
export function readDockerfileSource(
  contextDirectory: string,
  file: string | undefined,
  cwd: string,
): DockerfileSource {
  const path = file === undefined ? findDockerfile(contextDirectory) : resolve(cwd, file);
  const text = readBounded(path, file ?? basename(path));
  if (text === undefined) {
    throw new TsbuildError(
      'DOCKERFILE_NOT_FOUND',
      `cannot find the Dockerfile ${JSON.stringify(file ?? path)}`,
      {
        hint: dockerfileHint(path, contextDirectory, file === undefined ? undefined : cwd),
      },
    );
  }
  return { file: file ?? shownPath(path, cwd), text, ...readIgnore(contextDirectory, path, cwd) };
}

/** `cwd`: what --file was relative to; undefined where it was not given. */
function dockerfileHint(path: string, contextDirectory: string, cwd: string | undefined): string {
  const directory = dirname(path);
  const inContext = resolve(contextDirectory, relative(cwd ?? contextDirectory, path));
  if (cwd !== undefined && inContext !== path && exists(inContext))
    return `did you mean ${JSON.stringify(shownPath(inContext, cwd))}? --file is relative to the working directory`;
  if (!exists(directory))
    return `there is no directory ${JSON.stringify(shownPath(directory, cwd ?? directory))}`;
  const names = namesIn(directory);
  const near = suggest(basename(path), names) ?? names.find((name) => /dockerfile(?!.*ignore$)/i.test(name));
  if (near === undefined) return 'name it with --file';
  const shown = cwd === undefined ? near : shownPath(join(directory, near), cwd);
  return `did you mean ${JSON.stringify(shown)}? name it with --file`;
}

function findDockerfile(directory: string): string {
  const upper = join(directory, 'Dockerfile');
  const lower = join(directory, 'dockerfile');
  return !exists(upper) && exists(lower) ? lower : upper;
}

function readIgnore(
  contextDirectory: string,
  dockerfile: string,
  cwd: string,
): { ignoreText?: string; ignoreFile?: string } {
  for (const path of [`${dockerfile}.dockerignore`, join(contextDirectory, '.dockerignore')]) {
    const text = readBounded(path, path);
    if (text !== undefined) return { ignoreText: text, ignoreFile: shownPath(path, cwd) };
  }
  return {};
}

/** Ignore file of a named context. */
export function readContextIgnore(contextDirectory: string): string | undefined {
  return readBounded(join(contextDirectory, '.dockerignore'), '.dockerignore');
}

function readBounded(path: string, shown: string): string | undefined {
  try {
    const stat = statSync(path);
    if (!stat.isFile())
      throw new TsbuildError('DOCKERFILE_NOT_FOUND', `${JSON.stringify(shown)} is not a regular file`, {
        hint: 'name the file with --file',
      });
    if (stat.size > MAX_DOCKERFILE)
      throw new TsbuildError(
        'DOCKERFILE_SYNTAX',
        `${JSON.stringify(shown)} has ${stat.size} bytes; at most ${MAX_DOCKERFILE} are read`,
      );
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw ioError(`read ${JSON.stringify(shown)}`, error);
  }
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function shownPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  return short === '' || short.startsWith('..') || isAbsolute(short) ? path : short;
}

/** The build context and --build-context: directories, images, layouts, repositories, URLs, stages, standard input. */
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { ContextSpec } from '../../engine/build-sources.ts';
import { checkContextDirectory, readContextIgnore } from '../../engine/dockerfile-source.ts';
import { parseGitSource } from '../../../frontend/lower/git-source.ts';

/** A repository or URL; undefined: a path. */
export function remoteContext(text: string): ContextSpec | undefined {
  // As docker has it: a bare github.com/… is a repository.
  const source = parseGitSource(text.startsWith('github.com/') ? githubUrl(text) : text);
  if (source !== undefined) return { kind: 'git', source };
  return /^https?:\/\//.test(text) ? { kind: 'http', url: text } : undefined;
}

function githubUrl(text: string): string {
  const [, path = '', rest = ''] = /^([^#?]*)(.*)$/.exec(text) ?? [];
  return `https://${path.endsWith('.git') ? path : `${path}.git`}${rest}`;
}

/** `NAME=SPEC`. Throws USAGE, CONTEXT_NOT_FOUND. */
export function parseNamedContext(word: string, cwd: string): readonly [name: string, spec: ContextSpec] {
  const equals = word.indexOf('=');
  const [name, spec] = [word.slice(0, equals), word.slice(equals + 1)];
  if (equals <= 0 || spec === '')
    throw new TsbuildError('USAGE', `invalid --build-context ${JSON.stringify(word)}`, {
      hint: 'write NAME=DIRECTORY, or NAME=docker-image://REFERENCE, oci-layout://PATH, target:STAGE, or a URL',
    });
  if (/^(scratch|context)$/i.test(name))
    throw new TsbuildError(
      'USAGE',
      `--build-context cannot give another meaning to ${JSON.stringify(name)}`,
      {
        hint: 'choose another name',
      },
    );
  return [name, parseSpec(name, spec, cwd)];
}

function parseSpec(name: string, spec: string, cwd: string): ContextSpec {
  if (spec.startsWith('docker-image://'))
    return { kind: 'image', reference: spec.slice('docker-image://'.length) };
  if (spec.startsWith('target:')) return { kind: 'stage', name: spec.slice('target:'.length) };
  if (spec.startsWith('oci-layout://')) return parseLayout(spec.slice('oci-layout://'.length), cwd);
  const remote = remoteContext(spec);
  if (remote !== undefined) return remote;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(spec)?.[1];
  if (scheme !== undefined)
    throw new TsbuildError('USAGE', `--build-context does not know ${JSON.stringify(`${scheme}://`)}`, {
      hint: 'use a directory, docker-image://, oci-layout://, target:, https:// or a git address',
    });
  const directory = resolve(cwd, spec);
  checkContextDirectory(directory, spec);
  const ignoreText = readContextIgnore(directory);
  return {
    kind: 'directory',
    directory,
    where: `the build context ${JSON.stringify(name)}`,
    ...(ignoreText === undefined
      ? {}
      : { ignoreText, ignoreFile: `${spec.replace(/\/+$/, '')}/.dockerignore` }),
  };
}

function parseLayout(text: string, cwd: string): ContextSpec {
  const at = text.indexOf('@');
  const colon = at >= 0 ? -1 : text.lastIndexOf(':');
  const end = at >= 0 ? at : colon > text.lastIndexOf('/') ? colon : text.length;
  const select = at >= 0 ? text.slice(at) : text.slice(end + 1);
  return { kind: 'layout', path: resolve(cwd, text.slice(0, end)), ...(select === '' ? {} : { select }) };
}

/**
 * Git repositories as sources: `https://host/repo.git#ref:subdir`, `git@host:repo`, `…?branch=main&subdir=x`.
 *
 * An http(s) URL is a repository only if its path ends in `.git`; anything else at the other end of http is a file.
 * Source: BuildKit documentation, "Git URL fragments" and "Git query parameters" (Dockerfile reference, ADD).
 */
import { TsbuildError } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { GitSource } from '../request.ts';

const SCP = /^[a-zA-Z0-9-_]+@[a-zA-Z0-9-.]+:(?!\/\/)/;
const QUERY_KEYS = [
  ...['ref', 'tag', 'branch', 'subdir', 'checksum', 'commit', 'keep-git-dir', 'submodules'],
  ...['mtime', 'fetch-by-commit'],
];

/** Keys that mean something without a value. */
const FLAGS = new Set(['keep-git-dir', 'submodules', 'mtime', 'fetch-by-commit']);

/** undefined: this is no git repository. Throws INSTRUCTION_INVALID for one whose options make no sense. */
export function parseGitSource(text: string): GitSource | undefined {
  const { base, query, fragment } = splitUrl(text);
  if (!isRepository(base)) return undefined;
  const options = parseQuery(query, text);
  const colon = fragment.indexOf(':');
  const fragmentRef = colon < 0 ? fragment : fragment.slice(0, colon);
  const fragmentSubdir = colon < 0 ? '' : fragment.slice(colon + 1);
  const refs = [
    ...new Set([
      ...(fragmentRef === '' ? [] : [fragmentRef]),
      ...values(options, 'ref'),
      ...values(options, 'tag').map((tag) => prefixed('refs/tags/', tag)),
      ...values(options, 'branch').map((branch) => prefixed('refs/heads/', branch)),
    ]),
  ];
  if (refs.length > 1) throw invalid(text, `it names several refs: ${refs.join(', ')}`);
  const subdirs = [
    ...new Set([...(fragmentSubdir === '' ? [] : [fragmentSubdir]), ...values(options, 'subdir')]),
  ];
  if (subdirs.length > 1) throw invalid(text, `it names several directories: ${subdirs.join(', ')}`);
  const sums = [...new Set([...values(options, 'checksum'), ...values(options, 'commit')])];
  if (sums.length > 1) throw invalid(text, `it names several commits: ${sums.join(', ')}`);
  const [subdir] = subdirs;
  const [checksum] = sums;
  // A commit by itself says what is wanted.
  const [ref = checksum !== undefined && checksum.length >= 40 ? checksum : undefined] = refs;
  return {
    url: base,
    ...(ref === undefined ? {} : { ref }),
    ...(subdir === undefined ? {} : { subdir: checkSubdir(subdir, text) }),
    ...(checksum === undefined ? {} : { checksum: checkCommit(checksum, text) }),
    keepGitDir: flag(options, 'keep-git-dir', false, text),
    submodules: flag(options, 'submodules', true, text),
  };
}

function splitUrl(text: string): {
  readonly base: string;
  readonly query: string;
  readonly fragment: string;
} {
  const hash = text.indexOf('#');
  const before = hash < 0 ? text : text.slice(0, hash);
  const question = before.indexOf('?');
  return {
    base: question < 0 ? before : before.slice(0, question),
    query: question < 0 ? '' : before.slice(question + 1),
    fragment: hash < 0 ? '' : text.slice(hash + 1),
  };
}

function isRepository(base: string): boolean {
  if (/^(?:git|ssh):\/\/[^/]/.test(base) || SCP.test(base)) return true;
  return /^https?:\/\/[^/]+\/.*\.git$/.test(base);
}

function parseQuery(query: string, text: string): URLSearchParams {
  const options = new URLSearchParams(query);
  for (const key of options.keys())
    if (!QUERY_KEYS.includes(key))
      throw invalid(text, `unexpected query ${JSON.stringify(key)}`, queryHint(key));
    else if (options.getAll(key).length > 1) throw invalid(text, `${key} is given twice`);
    else if (options.get(key) === '' && !FLAGS.has(key)) throw invalid(text, `${key} has no value`);
  return options;
}

function prefixed(prefix: string, name: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

function values(options: URLSearchParams, key: string): readonly string[] {
  return options.getAll(key).filter((value) => value !== '');
}

function flag(options: URLSearchParams, key: string, fallback: boolean, text: string): boolean {
  const value = options.get(key);
  if (value === null) return fallback;
  if (/^(|1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw invalid(text, `${key} is true or false, not ${JSON.stringify(value)}`);
}

function checkSubdir(subdir: string, text: string): string {
  const parts = subdir.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(text, 'the directory leads out of the repository');
  return parts.join('/');
}

export function checkCommit(commit: string, text: string): string {
  if (!/^[0-9a-f]{7,64}$/.test(commit))
    throw invalid(text, `${JSON.stringify(commit)} is not a commit (7 to 64 hexadecimal digits)`);
  return commit;
}

function queryHint(key: string): string {
  const near = suggest(key, QUERY_KEYS);
  return near === undefined ? `use ${QUERY_KEYS.join(', ')}` : `did you mean ${near}?`;
}

function invalid(
  text: string,
  reason: string,
  hint = 'write https://HOST/REPOSITORY.git#REF:DIRECTORY',
): TsbuildError {
  return new TsbuildError(
    'INSTRUCTION_INVALID',
    `invalid git source ${JSON.stringify(text.replace(/:\/\/[^/@]*@/, '://***@'))}: ${reason}`,
    { hint },
  );
}

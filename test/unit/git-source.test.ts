/** What is a git repository, and what its URL says of ref, directory and commit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseGitSource } from '../../frontend/lower/git-source.ts';

const SHA = '0123456789abcdef0123456789abcdef01234567';

for (const text of [
  ...['https://example.com/', 'https://example.com/foo', 'https://example.com/foo.git/'],
  ...[
    'https://example.com/foo.git.bar',
    'http://example.com/foo.git:#branch',
    'custom.xyz/moby/buildkit.git',
  ],
  ...['./.git', '.git', 'foo.git', 'git@'],
])
  test(`${text} is no repository`, () => assert.equal(parseGitSource(text), undefined));

const REPOSITORIES: readonly (readonly [
  text: string,
  url: string,
  ref?: string | undefined,
  subdir?: string,
])[] = [
  ['https://example.com/foo.git', 'https://example.com/foo.git'],
  ['https://example.com/foo.git#deadbeef', 'https://example.com/foo.git', 'deadbeef'],
  ['https://example.com/foo.git#release/1.2', 'https://example.com/foo.git', 'release/1.2'],
  ['https://u:p@example.com/a/b.git', 'https://u:p@example.com/a/b.git'],
  ['git://example.com/foo', 'git://example.com/foo'],
  ['git@example.com:a/b', 'git@example.com:a/b'],
  ['git@example.com:a/b.git#v1', 'git@example.com:a/b.git', 'v1'],
  ['ssh://git@example.com/a/b', 'ssh://git@example.com/a/b'],
  ['https://e.com/a.git#x/y:q/r', 'https://e.com/a.git', 'x/y', 'q/r'],
  ['https://e.com/a.git#:q', 'https://e.com/a.git', undefined, 'q'],
  ['https://e.com/a.git?ref=v1&subdir=/q', 'https://e.com/a.git', 'v1', 'q'],
  ['https://e.com/a.git?tag=v1', 'https://e.com/a.git', 'refs/tags/v1'],
  ['https://e.com/a.git?tag=refs/tags/v1', 'https://e.com/a.git', 'refs/tags/v1'],
  ['https://e.com/a.git?branch=b', 'https://e.com/a.git', 'refs/heads/b'],
  ['https://e.com/a.git?branch=refs/heads/b#refs/heads/b', 'https://e.com/a.git', 'refs/heads/b'],
  [`https://e.com/a.git?commit=${SHA}`, 'https://e.com/a.git', SHA],
];
for (const [text, url, ref, subdir] of REPOSITORIES)
  test(`${text} is a repository`, () => {
    const found = parseGitSource(text);
    assert.deepEqual([found?.url, found?.ref, found?.subdir], [url, ref, subdir]);
  });

test('flags mean true where they have no value', () => {
  const found = parseGitSource('https://e.com/a.git?keep-git-dir&submodules=false');
  assert.deepEqual([found?.keepGitDir, found?.submodules], [true, false]);
});

for (const query of [
  ...['ref=', 'ref=a&ref=a', 'ref=a&tag=b', 'tag=a&branch=a', 'subdir=../x', 'bracnh=x', 'commit=xyz'],
  ...['submodules=maybe', 'subdir=a&subdir=b'],
])
  test(`?${query} is refused`, () => {
    assert.throws(
      () => parseGitSource(`https://e.com/a.git?${query}`),
      (error) => isTsbuildError(error, 'INSTRUCTION_INVALID'),
    );
  });

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import {
  compileSourcePattern,
  createIgnoreMatcher,
  parseIgnoreFile,
} from '../../src/layer/ignore-patterns.ts';

/** Patterns, path, left out? As moby/patternmatcher decides. */
const CASES: readonly (readonly [patterns: string, path: string, excluded: boolean])[] = [
  ['**', 'a/b', true],
  ['**/', 'file', true],
  ['**/**', 'dir/file', true],
  ['dir/**', 'dir/file', true],
  ['dir/**', 'dir', false],
  ['**/dir', 'dir', true],
  ['**/dir', 'a/dir', true],
  ['**/dir2/*', 'dir/dir2/file', true],
  ['**/file.txt', 'dir/dir/file.txt', true],
  ['**/file*txt', 'dir/dir/file.txt', true],
  ['a**/*a', 'a', false],
  ['a**/*a', 'aa/a', true],
  ['abc.def', 'abcdef', false],
  ['abc.def', 'abcZdef', false],
  ['abc?def', 'abcZdef', true],
  ['abc?def', 'abcdef', false],
  ['a\\\\', 'a\\', true],
  ['**/foo/bar', 'a/b/foo/bar', true],
  ['a(b)c/def', 'a(b)c/def', true],
  ['a(b)c/def', 'a(b)c/xyz', false],
  ['a.|)$(}+{bc', 'a.|)$(}+{bc', true],
  ['**file', 'file', true],
  ['**file', 'dir/file', true],
  ['**file', 'dir/xfile', true],
  ['**file*', 'dir/xfile', false],
  ['**/file', 'dir/xfile', false],
  ['**/.*', '.foo', true],
  ['**/.*', 'foo', false],
  ['*c', 'abc', true],
  ['a*', 'ab/c', true],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['ab[c]', 'abc', true],
  ['ab[^b-d]', 'abc', false],
  ['ab[e-g]', 'abc', false],
  ['[a-c]b*/d', 'bb/d', true],
  ['*,!dir/keep', 'dir/keep', false],
  ['*,!dir/keep', 'dir/other', true],
  ['docs,!docs/README.md', 'docs/README.md', false],
  ['docs,!docs/README.md', 'docs/guide', true],
  ['docs,!docs/README.md,docs/README.md', 'docs/README.md', true],
  ['a**b', 'ab', true],
  ['a**b', 'a/b', true],
  ['a**b', 'axb', false],
  ['/abs', 'abs', true],
  ['dir/', 'dir/file', true],
];
for (const [patterns, path, excluded] of CASES)
  test(`${patterns} ${excluded ? 'leaves out' : 'keeps'} ${path}`, () => {
    assert.equal(createIgnoreMatcher(patterns.split(',').flatMap(parseIgnoreFile)).excludes(path), excluded);
  });

test('comments stand at column 0, blanks around patterns do not count', () => {
  assert.deepEqual(parseIgnoreFile('\uFEFF# c\n #d\n\n  a/b  \n! x\n/y/\n./z/../w\n'), [
    '#d',
    'a/b',
    '!x',
    'y',
    'w',
  ]);
});

for (const pattern of ['!', '[', 'a[', '[]a]', '[-]', '[x-]', 'a\\'])
  test(`${pattern} is refused`, () => {
    assert.throws(
      () => createIgnoreMatcher([pattern]),
      (error) => isTsbuildError(error, 'IGNORE_PATTERN_INVALID'),
    );
  });

test('a pattern without special characters matches itself and what is below', () => {
  const name = fc.stringMatching(/^[a-z0-9_.-]{1,8}$/).filter((text) => !/^\.{1,2}$/.test(text));
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), name, (parts, other) => {
      const matcher = createIgnoreMatcher([parts.join('/')]);
      assert.ok(matcher.excludes(parts.join('/')));
      assert.ok(matcher.excludes([...parts, other].join('/')));
      assert.ok(!matcher.excludes(`x${parts.join('/')}`));
    }),
  );
});

test('no pattern makes the matcher throw anything but IGNORE_PATTERN_INVALID', () => {
  const text = fc.string({
    unit: fc.constantFrom('*', '?', '[', ']', '!', '\\', '/', '^', '-', 'a', '.', '(', '+', '{'),
  });
  fc.assert(
    fc.property(text, text, (pattern, path) => {
      try {
        createIgnoreMatcher([pattern]).excludes(path);
      } catch (error) {
        assert.ok(isTsbuildError(error, 'IGNORE_PATTERN_INVALID'), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('source wildcards stay within a name and match dot names', () => {
  assert.ok(compileSourcePattern('*').test('.dot'));
  assert.ok(!compileSourcePattern('*').test('a/b'));
  assert.ok(compileSourcePattern('**').test('a') && !compileSourcePattern('**').test('a/b'));
  assert.ok(compileSourcePattern('**/x', true).test('a/b/x'));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { expandWord, expandWords } from '../../frontend/expand/expand.ts';

const variables: Readonly<Record<string, string>> = {
  x: 'value',
  e: '',
  path: 'a/b/c.tar.gz',
  sp: 'one two',
  U1: 'digit',
};
const options = { escape: '\\', lookup: (name: string): string | undefined => variables[name] };

const WORDS: readonly (readonly [text: string, expanded: string])[] = [
  ['plain', 'plain'],
  ['$x', 'value'],
  ['${x}', 'value'],
  ['a${x}b', 'avalueb'],
  ['$U1x', ''],
  ['$1', ''],
  ['$', '$'],
  ['$$', ''],
  ['\\$x', '$x'],
  ["'$x'", '$x'],
  ['"$x"', 'value'],
  ['"\\$x \\a"', '$x \\a'],
  ['${u:-d}', 'd'],
  ['${e:-d}', 'd'],
  ['${e-d}', ''],
  ['${x:-d}', 'value'],
  ['${x:+s}', 's'],
  ['${e:+s}', ''],
  ['${e+s}', 's'],
  ['${u+s}', ''],
  ['${u:-${x}}', 'value'],
  ['${u:-"q d"}', 'q d'],
  ['${path#*/}', 'b/c.tar.gz'],
  ['${path##*/}', 'c.tar.gz'],
  ['${path%.*}', 'a/b/c.tar'],
  ['${path%%.*}', 'a/b/c'],
  ['${path/b/B}', 'a/B/c.tar.gz'],
  ['${path//a/A}', 'A/b/c.tAr.gz'],
  ['${x/?a/V}', 'Vlue'],
  ['${x/v?l/V}', 'Vue'],
  ['${x#[v]}', 'value'],
  ['${u#x}', ''],
];
for (const [text, expanded] of WORDS)
  test(`${text} expands to ${JSON.stringify(expanded)}`, () =>
    assert.equal(expandWord(text, options), expanded));

const FAILURES: readonly (readonly [text: string, message: RegExp])[] = [
  ['${}', /bad substitution/],
  ['${x', /not closed|missing/],
  ['${x=y}', /unsupported modifier \(=\)/],
  ['${x:=y}', /unsupported modifier \(:=\)/],
  ['${x^}', /unsupported modifier/],
  ["'open", /matching single-quote/],
  ['"open', /matching double-quote/],
  ['${u:?no value}', /u: no value/],
  ['${u?}', /u: is not allowed to be unset/],
  ['${path/a}', /missing '\/' in/],
];
for (const [text, message] of FAILURES)
  test(`${text} is refused`, () => {
    assert.throws(
      () => expandWord(text, options),
      (error) => isTsbuildError(error, 'EXPANSION_FAILED') && message.test(error.message),
    );
  });

test('words split at white space that is not quoted, also out of variables', () => {
  assert.deepEqual(expandWords('a $sp "b c" d\\ e', options), ['a', 'one', 'two', 'b c', 'd e']);
  assert.deepEqual(expandWords('"$sp"', options), ['one two']);
  assert.deepEqual(expandWords('  ', options), []);
});

test('blanks behind << belong to the word', () => {
  assert.deepEqual(expandWords('cat <<  E <x < y', options), ['cat', '<<  E', '<x', '<', 'y']);
  assert.deepEqual(expandWords("a<<- 'E F' <<\vG", options), ['a<<-', 'E F', '<<', 'G']);
});

test('quotes are content in heredoc bodies', () => {
  assert.equal(expandWord(`say "it's $x"`, { ...options, keepQuotes: true }), `say "it's value"`);
});

test('no text makes expansion throw anything but EXPANSION_FAILED', () => {
  const text = fc.string({
    unit: fc.constantFrom(
      '$',
      '{',
      '}',
      ':',
      '-',
      '+',
      '?',
      '#',
      '%',
      '/',
      '*',
      '\\',
      "'",
      '"',
      'x',
      'u',
      ' ',
      'é',
    ),
  });
  fc.assert(
    fc.property(text, (word) => {
      try {
        expandWord(word, options);
      } catch (error) {
        assert.ok(isTsbuildError(error, 'EXPANSION_FAILED'), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('text without special characters stays as it is', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9 .,=:/-]*$/), (text) =>
      assert.equal(expandWord(text, options), text),
    ),
  );
});

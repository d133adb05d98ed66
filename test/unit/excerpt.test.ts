/** Excerpts: the squiggle stands below its text, and nothing is shown at full length that has no end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { locate, narrow, TsbuildError } from '../../src/base/errors.ts';
import { renderError } from '../../src/cli/render/error.ts';
import { columnsOf, excerpt } from '../../src/cli/render/excerpt.ts';

/** The excerpt of the first place of `word` in `text`. */
function excerptOf(text: string, word: string): readonly string[] {
  const at = text.replace(/^\uFEFF/, '').indexOf(word);
  const before = text
    .replace(/^\uFEFF/, '')
    .slice(0, at)
    .split('\n');
  const startColumn = (before.at(-1) ?? '').length + 1;
  const range = {
    startLine: before.length,
    startColumn,
    endLine: before.length,
    endColumn: startColumn + word.length,
  };
  return excerpt({ file: 'Dockerfile', text, range });
}

/** Columns of the word and of the squiggle in the last two lines. */
function assertBelow(shown: readonly string[], word: string): void {
  const [line = '', squiggle = ''] = shown.slice(-2);
  assert.equal(columnsOf(line.slice(0, line.indexOf(word))), squiggle.indexOf('~'));
  assert.equal(squiggle.trimEnd().length - squiggle.indexOf('~'), columnsOf(word));
}

test('a squiggle stands below its word', () => {
  for (const text of [
    'FROM a\nENV A=1 bad\n',
    'FROM a\r\nENV A=1 bad\r\n',
    '\uFEFFENV A=1 bad\n',
    'FROM a\n\t\tENV\tA=1\tbad\n',
    'LABEL title=世界 e=🚀 é=é k=한글 bad\n',
    'LABEL a=\u001b[31mred\u001b[0m\u0007 bad\n',
    'ENV zero=a\u200bb bad\n',
  ])
    assertBelow(excerptOf(text, 'bad'), 'bad');
  assertBelow(excerptOf('LABEL a=世界 b\n', '世界'), '世界');
});

test('a long line is shown around its range', () => {
  const long = `ENV ${'a=b '.repeat(20_000)}`;
  for (const text of [
    `${long}bad`,
    `${long}bad ${'c=d '.repeat(20_000)}`,
    `bad ${long}`,
    `${'世'.repeat(9000)} bad x`,
  ]) {
    const shown = excerptOf(text, 'bad');
    assertBelow(shown, 'bad');
    for (const line of shown) assert.ok(columnsOf(line) <= 130, `${columnsOf(line)} columns`);
  }
  const whole = excerptOf('x'.repeat(60_000), 'x'.repeat(60_000));
  for (const line of whole) assert.ok(columnsOf(line) <= 130);
});

test('a range of many lines is cut, and says so', () => {
  const text = Array.from({ length: 40 }, (_, index) => `line ${index + 1}`).join('\n');
  const range = { startLine: 5, startColumn: 1, endLine: 30, endColumn: 3 };
  const shown = excerpt({ file: 'Dockerfile', text, range });
  assert.deepEqual(shown.slice(0, 4), [
    '  Dockerfile:5:1',
    '      4 | line 4',
    '  >   5 | line 5',
    '        | ~~~~~~',
  ]);
  assert.equal(shown.at(-1), '      … | 16 more lines');
});

test('passwords of URLs are struck out of the excerpt, and what follows stays in place', () => {
  const shown = excerptOf('ADD https://ann:secret@host/x bad\n', 'bad');
  assertBelow(shown, 'bad');
  assert.ok(!shown.join('\n').includes('secret'));
});

test('messages and lines of output are bounded', () => {
  const error = new TsbuildError(
    'RUN_FAILED',
    `cannot expand ${JSON.stringify('x'.repeat(60_000))}: no end`,
    {
      output: ['y'.repeat(60_000), 'ten\rtwenty\r'],
      hint: 'z'.repeat(60_000),
    },
  );
  const lines = renderError(error, { color: false }).split('\n');
  for (const line of lines) assert.ok(line.length < 700, `${line.length} characters`);
  assert.match(lines[0] ?? '', /^error: cannot expand "x+ … x+": no end \[RUN_FAILED\]$/);
  assert.equal(lines[2], '  last output: twenty');
});

test('a word is found where it stands, between blanks, quotes and commas', () => {
  const text = 'FROM a\nCOPY --from=b "bb" \\\n# b\n  b,c b /b\n';
  const source = {
    file: 'Dockerfile',
    text,
    range: { startLine: 2, startColumn: 1, endLine: 4, endColumn: 11 },
  };
  const placeOf = (word: string): readonly number[] => {
    const { startLine, startColumn, endColumn } = narrow(source, word).range;
    return [startLine, startColumn, endColumn];
  };
  assert.deepEqual(placeOf('bb'), [2, 16, 18]);
  assert.deepEqual(placeOf('b'), [2, 13, 14]);
  assert.deepEqual(placeOf('c'), [4, 5, 6]);
  assert.deepEqual(placeOf('/b'), [4, 9, 11]);
  for (const word of ['FROM', 'a', '', 'opy', '# b']) assert.equal(narrow(source, word), source);
});

test('an error takes the nearest place, and in it the word that it is about', () => {
  const source = {
    file: 'Dockerfile',
    text: 'COPY x y\n',
    range: { startLine: 1, startColumn: 1, endLine: 1, endColumn: 9 },
  };
  const error = new TsbuildError('COPY_SOURCE_NOT_FOUND', 'cannot find "x"', { word: 'x', hint: 'h' });
  const located = locate(error, source) as TsbuildError;
  assert.equal(located.source?.range.startColumn, 6);
  assert.equal(located.hint, 'h');
  assert.equal(locate(located, { ...source, file: 'other' }), located);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DockerfileParser } from 'dockerfile-ast';
import fc from '../suites/properties.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import { heredocText, parseLines } from '../../frontend/parse/lines.ts';
import { parseJsonForm, takeFlags } from '../../frontend/parse/arguments.ts';
import { parseDuration } from '../../frontend/instructions/healthcheck.ts';
import { parseSize } from '../../frontend/lower/run-mounts.ts';

function parse(text: string): ReturnType<typeof parseLines> {
  return parseLines({ file: 'Dockerfile', text });
}

function texts(text: string): string[] {
  return parse(text).instructions.map((instruction) => instruction.text);
}

function fails(text: string, code: ErrorCode, message: RegExp, line: number): void {
  assert.throws(
    () => parse(text),
    (error) => {
      assert.ok(isTsbuildError(error, code));
      assert.match(error.message, message);
      assert.equal(error.source?.range.startLine, line);
      return true;
    },
  );
}

test('continued lines are joined with nothing between, comments and blank lines inside vanish', () => {
  assert.deepEqual(texts('RUN a \\\n# comment\n\n  b\n'), ['RUN a   b']);
  assert.deepEqual(texts('RUN a\\\\\nRUN b'), ['RUN a\\\\', 'RUN b']);
  assert.deepEqual(texts('RUN a \\'), ['RUN a ']);
});

test('a blank line in a continuation is warned of', () => {
  assert.equal(parse('RUN a \\\n\n b\n').warnings[0]?.rule, 'NoEmptyContinuation');
  assert.deepEqual(parse('RUN a \\\n b\n').warnings, []);
});

test('the escape directive changes what continues a line', () => {
  assert.deepEqual(texts('# escape=`\nRUN a `\n b\\\nRUN c'), ['RUN a  b\\', 'RUN c']);
  assert.deepEqual(texts('\n# escape=`\nRUN a \\\n b'), ['RUN a  b']);
});

test('BOM and CRLF are no part of the text', () => {
  assert.deepEqual(texts('\uFEFFFROM a\r\nRUN b\r\n'), ['FROM a', 'RUN b']);
});

test('heredocs take the lines up to their delimiter, in order', () => {
  const [first, second] = parse('COPY <<A <<-"B" /d/\none\nA\n\ttwo $x\n\tB\nRUN next').instructions;
  assert.deepEqual(
    first?.heredocs.map(({ name, expand, content }) => [name, expand, content]),
    [
      ['A', true, 'one\n'],
      ['B', false, '\ttwo $x\n'],
    ],
  );
  const [, chomped] = first.heredocs;
  assert.equal(chomped === undefined ? '' : heredocText(chomped), 'two $x\n');
  assert.equal(second?.text, 'RUN next');
});

test('a quoted << is no heredoc, a number before it is its descriptor', () => {
  assert.equal(parse('RUN echo "a <<EOF b"\nRUN x').instructions.length, 2);
  assert.equal(parse('RUN 3<<EOF cat\nbody\nEOF').instructions[0]?.heredocs[0]?.fd, '3');
});

test('texts that are no Dockerfile are refused at their line', () => {
  fails('', 'DOCKERFILE_SYNTAX', /is empty/, 1);
  fails('# only\n', 'DOCKERFILE_SYNTAX', /no instructions/, 1);
  fails('FROM a\nRUN <<EOF\nx\n', 'DOCKERFILE_SYNTAX', /unterminated heredoc "EOF"/, 2);
  fails('# escape=x\nFROM a', 'DOCKERFILE_SYNTAX', /invalid escape/, 1);
  fails('# escape=`\n# escape=`\nFROM a', 'DOCKERFILE_SYNTAX', /only one escape/, 2);
  fails(`FROM a\nRUN ${'x'.repeat(65536)}`, 'DOCKERFILE_SYNTAX', /longer than 65535/, 2);
});

test('flags lose their quotes, a bare -- ends them', () => {
  const [raw] = parse('COPY --chown="a b" --link --x=\'y\' -- --from=z d').instructions;
  assert.ok(raw !== undefined);
  const { flags, rest } = takeFlags(raw, raw.restOffset);
  assert.deepEqual(
    flags.map(({ name, value }) => [name, value]),
    [
      ['chown', 'a b'],
      ['link', undefined],
      ['x', 'y'],
    ],
  );
  assert.equal(rest, '--from=z d');
});

test('the JSON form is exactly JSON arrays of strings', () => {
  const [raw] = parse('CMD x').instructions;
  assert.ok(raw !== undefined);
  assert.deepEqual(parseJsonForm(raw, '["a", "b\\u0041\\n"]'), ['a', 'bA\n']);
  for (const text of ["['a']", '["a"', '["a"] x', 'a']) assert.equal(parseJsonForm(raw, text), undefined);
  assert.throws(() => parseJsonForm(raw, '["a", 1]'), /strings only/);
  fc.assert(
    fc.property(fc.array(fc.string()), (words) =>
      assert.deepEqual(parseJsonForm(raw, JSON.stringify(words)), words),
    ),
  );
});

test('any body of a heredoc comes back as it was', () => {
  const line = fc.string().map((text) => text.replace(/[\r\n]/g, ''));
  fc.assert(
    fc.property(fc.array(line.filter((text) => text !== 'END')), (lines) => {
      const body = lines.map((text) => `${text}\n`).join('');
      assert.equal(parse(`RUN <<END\n${body}END\n`).instructions[0]?.heredocs[0]?.content, body);
    }),
  );
});

test('keywords and lines of instructions are those that dockerfile-ast sees', () => {
  const dockerfiles = [
    'FROM a AS b\nRUN x \\\n  y\n\n# c\ncopy --from=b /a /b\nCMD ["x"]\n',
    '# syntax=docker/dockerfile:1\nARG V=1\nFROM x:$V\nENV a=b \\\n c=d\nEXPOSE 80/tcp\n',
    'FROM a\nRUN <<EOF\none\ntwo\nEOF\nUSER bob\n',
  ];
  for (const text of dockerfiles) {
    const theirs = DockerfileParser.parse(text)
      .getInstructions()
      .map((each) => [each.getKeyword(), each.getRange().start.line + 1]);
    const ours = parse(text).instructions.map(({ keyword, range }) => [keyword, range.startLine]);
    assert.deepEqual(ours, theirs);
  }
});

test("durations are Go's", () => {
  assert.equal(parseDuration('1m30s'), 90e9);
  assert.equal(parseDuration('1.5h'), 5400e9);
  assert.equal(parseDuration('0'), 0);
  assert.equal(parseDuration('5'), undefined);
  assert.equal(parseDuration('1x'), undefined);
});

test('sizes know units', () => {
  assert.equal(parseSize('64m'), 64 << 20);
  assert.equal(parseSize('1.5k'), 1536);
  assert.equal(parseSize('12'), 12);
  assert.equal(parseSize('abc'), undefined);
});

test('what is read again and again grows with the text, not with its square', () => {
  const quick = (text: string): void => {
    // A machine that is busy with something else is asked again.
    let took = Infinity;
    for (let attempt = 0; attempt < 5 && took >= 1000; attempt += 1) {
      const started = performance.now();
      assert.throws(() => parse(text), /no instructions|unterminated heredoc/);
      took = performance.now() - started;
    }
    assert.ok(took < 1000, text.slice(0, 20));
  };
  quick('# c\n'.repeat(50_000));
  quick(`COPY ["a", "b"] ${'0'.repeat(60_000)} <<X ./\n`);
});

/** How a Dockerfile is read: lines, comments, continuations, directives, flags, forms. One row of behaviour per name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listStages, outlineDockerfile } from '../../frontend/frontend.ts';
import { parseLines } from '../../frontend/parse/lines.ts';
import {
  build,
  command,
  copies,
  createdBy,
  found,
  refused,
  requestOf,
  runs,
} from '../suites/frontend-fixture.ts';

const parse = (text: string): ReturnType<typeof parseLines> => parseLines({ file: 'Dockerfile', text });
const texts = (text: string): string[] => parse(text).instructions.map((each) => each.text);
const shell = async (line: string): Promise<string | undefined> => (await command(line)).at(-1);

test('1.1 Lines: 65535 bytes fit, one more does not', async () => {
  const fits = `RUN ${'x'.repeat(65531)}`;
  assert.equal(texts(`FROM a\n${fits}\n`)[1]?.length, 65535);
  await refused(`FROM a\n${fits}x\n`, 'DOCKERFILE_SYNTAX', /longer than 65535 bytes/, 2);
  // Bytes count, not characters.
  await refused(`FROM a\nRUN ${'é'.repeat(32766)}\n`, 'DOCKERFILE_SYNTAX', /longer/, 2);
});

test('1.1 Lines: byte order mark and line ends are no part of them', () => {
  assert.deepEqual(texts('\uFEFFFROM a\r\nRUN b \\\r\n c\r\n'), ['FROM a', 'RUN b  c']);
});

test('1.1 Lines: white space before an instruction goes, before a continued line it stays', () => {
  assert.deepEqual(texts(' \t\u00a0FROM a\n\u2003RUN x \\\n \t y\n'), ['FROM a', 'RUN x  \t y']);
});

test('1.1 Comments: a line that begins with # vanishes, also within an instruction', async () => {
  assert.deepEqual(texts('FROM a\n  # one\nRUN x \\\n  # two\n# three\n  y\n'), ['FROM a', 'RUN x   y']);
  assert.equal(await shell('RUN echo # all of it'), 'echo # all of it');
  assert.equal(await shell('RUN <<E\n# content\nE'), '# content\n');
});

test('1.1 Continuation: lines are joined with nothing between', async () => {
  assert.equal(await shell('RUN x \\\n\n# c\n y'), 'x  y');
  assert.equal(await shell('RUN a\\\nb'), 'ab');
  assert.equal(await shell('RUN a \\  \t\n  b'), 'a   b');
  assert.deepEqual(texts('FROM a\\\\\nRUN b\\'), ['FROM a\\\\', 'RUN b']);
});

test('1.1 Continuation: an empty line in it is warned of, at the last line', async () => {
  const { warnings } = await build('FROM a\nRUN x \\\n\n  y \\\n  z\nRUN n\n');
  assert.deepEqual(found(warnings), ['NoEmptyContinuation@5']);
  assert.deepEqual(found((await build('FROM a\nRUN x \\\n# c\n  y\n')).warnings), []);
});

test('1.1 Empty input: each kind of nothing has words of its own', async () => {
  await refused('', 'DOCKERFILE_SYNTAX', /is empty/, 1);
  await refused('# c\n\n  # d\n', 'DOCKERFILE_SYNTAX', /has no instructions/, 1);
  await refused('ARG x\n', 'DOCKERFILE_SYNTAX', /no stage to build/, 1);
  await refused('# c\nENV a=b\nFROM x\n', 'DOCKERFILE_SYNTAX', /no build stage yet for ENV/, 2);
});

test('1.1 Unknown instruction: a near keyword is named, a far one is not', async () => {
  await refused('FROM a\nRUM x\n', 'INSTRUCTION_UNKNOWN', /"RUM" did you mean RUN\?$/, 2);
  await refused('FROM a\ncoppy x y\n', 'INSTRUCTION_UNKNOWN', /"coppy" did you mean COPY\?$/, 2);
  await refused('FROM a\nBUILDINGS x\n', 'INSTRUCTION_UNKNOWN', /"BUILDINGS" use one of ADD/, 2);
  await refused('FROM a\nONBUILD RUM x\n', 'INSTRUCTION_UNKNOWN', /did you mean RUN/, 2);
});

test('1.1 Unknown instruction: what is wrong in its arguments has a place', async () => {
  await refused('FROM a\nLABEL x\n', 'DOCKERFILE_SYNTAX', /LABEL gives "x" no value/, 2);
  await refused('FROM a\nCMD ["x", 1]\n', 'DOCKERFILE_SYNTAX', /strings only/, 2);
});

test('1.1 Flags: they stand first, -- ends them, quotes and escapes go', async () => {
  const [first] = copies(await build('FROM a\nCOPY --chown="a":\'b\' --chmod=\\7\\55 -- --link /x\n'));
  assert.deepEqual(first?.owner, { user: 'a', group: 'b' });
  assert.equal(first.chmod, '755');
  assert.deepEqual(first.sources, [{ kind: 'paths', input: 1, patterns: ['--link'] }]);
  assert.equal(await shell('RUN x --network=none'), 'x --network=none');
});

test('1.1 Flags: true and false in any case', async () => {
  const made = copies(await build('FROM a\nCOPY --link=TRUE x /\nCOPY --link=False x /\nCOPY --link y /\n'));
  assert.deepEqual(
    made.map(({ link }) => link),
    [true, false, true],
  );
});

test('1.1 Flags: unknown ones, doubled ones, values that are missing or wrong', async () => {
  await refused('FROM a\nCOPY --fro=b x y\n', 'INSTRUCTION_INVALID', /"--fro" did you mean --from/, 2);
  await refused('FROM a\nCOPY --from=b --from=c x y\n', 'INSTRUCTION_INVALID', /"--from" is given twice/, 2);
  await refused('FROM a\nCOPY --chown x y\n', 'INSTRUCTION_INVALID', /"--chown" needs a value/, 2);
  await refused('FROM a\nADD --unpack=maybe x y\n', 'INSTRUCTION_INVALID', /not "maybe"/, 2);
  await refused('FROM a\nENV --x=1 y=2\n', 'INSTRUCTION_INVALID', /unknown flag "--x"/, 2);
  for (const name of ['constructor', '__proto__', 'toString'])
    await refused(`FROM a\nCOPY --${name}=1 x y\n`, 'INSTRUCTION_INVALID', /unknown flag/, 2);
});

test('1.1 Flags: the place of an error is that of the flag', async () => {
  await assert.rejects(
    build('FROM a\nCOPY \\\n  --chwon=1 x y\n'),
    (error: { source?: { range: unknown } }) => {
      assert.deepEqual(error.source?.range, { startLine: 3, startColumn: 3, endLine: 3, endColumn: 12 });
      return true;
    },
  );
});

test('1.1 Exec (JSON) form: every instruction that has one', async () => {
  const made = await build(
    'FROM a\nSHELL ["/s"]\nRUN ["r", "\\u0041\\n"]\nCOPY ["a b", "c"]\nADD ["d e", "f"]\nVOLUME ["/v w"]\n' +
      'CMD ["c"]\nENTRYPOINT ["e"]\nHEALTHCHECK CMD ["h"]\n',
  );
  assert.deepEqual(runs(made)[0]?.args, ['r', 'A\n']);
  assert.deepEqual(
    copies(made).map(({ sources }) => sources[0]),
    [
      { kind: 'paths', input: 1, patterns: ['a b'] },
      { kind: 'paths', input: 1, patterns: ['d e'] },
    ],
  );
  const { Shell, Volumes, Cmd, Entrypoint, Healthcheck } = made.config;
  assert.deepEqual([Shell, Cmd, Entrypoint, Healthcheck?.Test], [['/s'], ['c'], ['e'], ['CMD', 'h']]);
  assert.deepEqual(Volumes, { '/v w': {} });
});

test('1.1 Exec (JSON) form: what is no JSON is the shell form', async () => {
  for (const text of ["['a']", '["a"', '["a"] && b', '[a]', '["a",]', '["\\x41"]'])
    assert.equal(await shell(`RUN ${text}`), text);
});

test('1.1 Exec (JSON) form: anything but strings in the array is an error', async () => {
  for (const text of ['["a", 1]', '["a", ["b"]]', '[null]', '[{}]'])
    await refused(`FROM a\nRUN ${text}\n`, 'DOCKERFILE_SYNTAX', /strings only/, 2);
});

test('1.1 Exec (JSON) form: nothing in it is for CMD and ENTRYPOINT alone', async () => {
  await refused('FROM a\nRUN []\n', 'INSTRUCTION_INVALID', /needs a command/, 2);
  await refused('FROM a\nSHELL []\n', 'INSTRUCTION_INVALID', /at least one/, 2);
  await refused('FROM a\nVOLUME []\n', 'INSTRUCTION_INVALID', /at least one/, 2);
  const made = await build('FROM a\nCMD []\nENTRYPOINT []\n', {}, { a: { Cmd: ['c'], Entrypoint: ['e'] } });
  assert.equal(made.config.Cmd, undefined);
  assert.equal(made.config.Entrypoint, undefined);
  assert.deepEqual(createdBy(made), ['CMD []', 'ENTRYPOINT []']);
});

test('1.1 Exec (JSON) form: half a surrogate pair is U+FFFD, as in Go', async () => {
  assert.deepEqual(await command('RUN ["\\ud800", "\\ud83d\\ude00"]'), ['\uFFFD', '😀']);
});

test('1.1 ENV/LABEL syntax: without = in the first word, the rest is the value', async () => {
  const made = await build('FROM a\nENV one  two=2  "three" \nLABEL key some text\n');
  assert.deepEqual(made.config.Env?.at(-1), 'one=two=2  three');
  assert.deepEqual(made.config.Labels, { key: 'some text' });
  assert.deepEqual(found(made.warnings), ['LegacyKeyValueFormat@2', 'LegacyKeyValueFormat@3']);
});

test('1.1 ENV/LABEL syntax: pairs with quotes and escapes', async () => {
  const made = await build('FROM a\nENV a="b c"d e=\'$f\' g=\\$h i=x\\ y j=\n');
  assert.deepEqual(made.config.Env?.slice(1), ['a=b cd', 'e=$f', 'g=$h', 'i=x y', 'j=']);
});

test('1.1 ENV/LABEL syntax: what is missing is said', async () => {
  await refused('FROM a\nENV x\n', 'DOCKERFILE_SYNTAX', /ENV gives "x" no value/, 2);
  await refused('FROM a\nENV a=1 b\n', 'DOCKERFILE_SYNTAX', /no = in "b"/, 2);
  await refused('FROM a\nENV =1\n', 'INSTRUCTION_INVALID', /names cannot be blank/, 2);
  await refused('FROM a\nLABEL\n', 'INSTRUCTION_INVALID', /at least one argument/, 2);
});

test('1.1 Heredocs: ADD, COPY and RUN have them, others and JSON do not', async () => {
  assert.equal(parse('ENV a=<<E\nE x').instructions.length, 2);
  assert.equal(parse('RUN ["<<E"]\nRUN x').instructions.length, 2);
  const made = await build('FROM a\nADD <<f /d/\n1\nf\nONBUILD RUN <<E\nx\nE\n');
  assert.deepEqual(copies(made)[0]?.sources, [{ kind: 'inline', name: 'f', content: '1\n' }]);
  assert.deepEqual(made.config.OnBuild, ['RUN <<E\nx\nE']);
});

test('1.1 Heredocs: descriptor, tabs, quotes, blanks in the delimiter', () => {
  const [first] = parse(
    'RUN 3<<A <<-B <<"C" <<-\'D E\' cat\n1\nA\n\t2\n\t\tB\n3\nC\n\t4\nD E\n',
  ).instructions;
  assert.deepEqual(
    first?.heredocs.map(({ fd, name, chomp, expand, content }) => [fd, name, chomp, expand, content]),
    [
      ['3', 'A', false, true, '1\n'],
      ['', 'B', true, true, '\t2\n'],
      ['', 'C', false, false, '3\n'],
      ['', 'D E', true, false, '\t4\n'],
    ],
  );
});

test('1.1 Heredocs: blanks before the delimiter, but not behind <<-', async () => {
  const names = (text: string): readonly string[] | undefined =>
    parse(text).instructions[0]?.heredocs.map(({ name }) => name);
  assert.deepEqual(names('RUN <<  E\nx\nE\n'), ['E']);
  assert.deepEqual(names('RUN <<\t"E F" > y\nx\nE F\n'), ['E F']);
  assert.deepEqual(names('RUN << -E\n-E\n'), ['-E']);
  assert.deepEqual(names('RUN <<- E\n'), []);
  assert.deepEqual(runs(await build('FROM a\nRUN << E\nx\nE\n'))[0]?.args, ['/bin/sh', '-c', 'x\n']);
});

test('1.1 Heredocs: one that is quoted as a whole is none, one without end is an error', async () => {
  assert.equal(await shell('RUN "<<E"'), '"<<E"');
  await refused('FROM a\nRUN <<E\nx\n E\n', 'DOCKERFILE_SYNTAX', /unterminated heredoc "E"/, 2);
});

test('1.1 Heredocs: below a trigger that is continued', async () => {
  const made = await build('FROM a\nONBUILD COPY \\\n  # c\n  <<E \\\n  /x\n1\nE\n');
  assert.deepEqual(made.config.OnBuild, ['COPY   <<E   /x\n1\nE']);
});

test('1.1 Directives: blanks and case do not count', async () => {
  const made = await build('#  EsCaPe  =  `  \n# CHECK=skip=all\nfrom a\nRUN a `\n b\nCMD x\n');
  assert.equal(runs(made)[0]?.args.at(-1), 'a  b');
  assert.deepEqual(made.warnings, []);
});

test('1.1 Directives: any other line ends them', async () => {
  for (const line of ['', '# a comment', '# other=x', 'ARG x'])
    assert.deepEqual(texts(`${line}\n# escape=\`\nFROM a\nRUN a \`\n`).at(-1), 'RUN a `');
});

test('1.1 Directives: twice, or with another character, they are refused', async () => {
  await refused('# escape=`\n# escape=`\nFROM a\n', 'DOCKERFILE_SYNTAX', /only one escape/, 2);
  await refused('# escape=x\nFROM a\n', 'DOCKERFILE_SYNTAX', /invalid escape character "x"/, 1);
});

test('1.1 # syntax=: it is read, also below a #! line, and changes nothing', async () => {
  assert.equal(parse('# syntax=docker/dockerfile:1 x\nFROM a').directives.syntax, 'docker/dockerfile:1 x');
  assert.equal(parse('#!/bin/x\n# syntax=y\n# escape=`\nFROM a').directives.escape, '`');
  assert.deepEqual((await build('# syntax=docker/dockerfile:1\nFROM a\n')).asked, ['a']);
});

test('1.1 # check=: for the file, overridden by an argument, and for one instruction', async () => {
  const rules = async (text: string, check?: string): Promise<readonly string[]> =>
    found(
      (await build(text, { buildArgs: check === undefined ? {} : { BUILDKIT_DOCKERFILE_CHECK: check } }))
        .warnings,
    );
  assert.deepEqual(await rules('# check=skip=JSONArgsRecommended\nFROM a\nCMD x\nENV a b\n'), [
    'LegacyKeyValueFormat@4',
  ]);
  assert.deepEqual(await rules('# check=skip=all\nFROM a\nCMD x\n', 'skip=UndefinedVar'), [
    'JSONArgsRecommended@3',
  ]);
  assert.deepEqual(await rules('FROM a\n# why\n# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y\n'), [
    'JSONArgsRecommended@5',
  ]);
});

test('1.1 Doc comments: those directly above that begin with the name', async () => {
  const text =
    '# V version\nARG V=1\n# W lost\n\nARG W=2\n# X begins\n#\n# X anew\nARG X=3\n# out what comes out\nFROM a:$V$W$X AS out\n';
  const outline = await outlineDockerfile(requestOf(text));
  assert.equal(outline.description, 'what comes out');
  assert.deepEqual(
    outline.args.map(({ name, description }) => [name, description]),
    [
      ['V', 'version'],
      ['W', undefined],
      ['X', 'anew'],
    ],
  );
  assert.deepEqual(
    listStages({ file: 'Dockerfile', text }).map(({ name }) => name),
    ['out'],
  );
});

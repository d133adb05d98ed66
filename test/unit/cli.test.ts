import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { parseOutputs } from '../../src/cli/commands/output-flag.ts';
import { helpText, parseFlags, type ParsedFlags } from '../../src/cli/flags.ts';
import { exitCodeOf, renderError } from '../../src/cli/render/error.ts';
import { mask, redact } from '../../src/base/redact.ts';
import { formatBytes } from '../../src/cli/render/model.ts';
import { createPlainRenderer } from '../../src/cli/render/plain.ts';
import { createTtyRenderer } from '../../src/cli/render/tty.ts';
import { table } from '../../src/cli/table.ts';
import { age, binarySize, decimalSize, humanDuration } from '../../src/cli/views/words.ts';
import { matchGlob } from '../../src/cli/commands/name-glob.ts';
import type { ProgressEvent } from '../../src/progress/progress.ts';

function parse(command: string, ...argv: readonly string[]): ParsedFlags {
  const entry = COMMANDS.find(({ spec }) => spec.name === command);
  assert.ok(entry !== undefined);
  return parseFlags(entry.spec, argv);
}

test('flags are written in all the ways that fingers know', () => {
  const flags = parse('build', '-t', 'a', '-tb', '--tag=c', '--build-arg', 'X=1=2', '-q', '.');
  assert.deepEqual(flags.list('tag'), ['a', 'b', 'c']);
  assert.deepEqual(flags.list('build-arg'), ['X=1=2']);
  assert.ok(flags.boolean('quiet'));
  assert.deepEqual(flags.words, ['.']);
});

test('bundled short flags and a value at their end', () => {
  const flags = parse('run', '-ite', 'A=1', 'img', '-x', '--y');
  assert.ok(flags.boolean('tty') && flags.boolean('interactive'));
  assert.deepEqual(flags.list('env'), ['A=1']);
  assert.deepEqual(flags.words, ['img', '-x', '--y']);
});

test('-- ends the flags, --flag=false takes one back', () => {
  assert.deepEqual(parse('build', '--', '-x').words, ['-x']);
  assert.ok(!parse('build', '--no-cache', '--no-cache=false', '.').boolean('no-cache'));
});

for (const [argv, message] of [
  [['--tga', 'x', '.'], /unknown flag "--tga"/],
  [['-t'], /needs a value/],
  [['--no-cache=maybe', '.'], /true or false/],
  [[], /needs an argument/],
  [['a', 'b'], /too many arguments: "b"/],
  [['-Z', '.'], /unknown flag "-Z"/],
] as const)
  test(`build ${argv.join(' ')} is a usage error`, () => {
    assert.throws(
      () => parse('build', ...argv),
      (error) => isTsbuildError(error, 'USAGE') && message.test(error.message),
    );
  });

test('help lists every flag of every command', () => {
  for (const { spec } of COMMANDS)
    for (const name of Object.keys(spec.flags)) assert.match(helpText(spec), new RegExp(`--${name}\\b`));
});

test('outputs are parsed as docker writes them', () => {
  const stdout = new PassThrough();
  assert.deepEqual(
    parseOutputs(
      [
        'out',
        'type=oci,dest=d',
        'type=oci,dest=a.tar,compression=uncompressed',
        'type=docker,dest=/b.tar',
        'type=image,push=true',
        'type=docker',
        'type=docker,dest=-',
      ],
      '/w',
      stdout,
    ),
    [
      { kind: 'local', destination: '/w/out' },
      { kind: 'oci-directory', destination: '/w/d', form: { compression: 'gzip' } },
      { kind: 'oci-archive', destination: '/w/a.tar', form: { compression: 'uncompressed' } },
      { kind: 'docker-archive', destination: '/b.tar', form: { compression: 'uncompressed', force: true } },
      { kind: 'docker-archive', destination: stdout, form: { compression: 'uncompressed', force: true } },
    ],
  );
  for (const spec of ['type=nope', 'dest=x', 'type=local', 'type=oci,dest=x,compression=lzma'])
    assert.throws(
      () => parseOutputs([spec], '/', stdout),
      (error) => isTsbuildError(error, 'USAGE'),
    );
  assert.throws(
    () => parseOutputs(['-'], '/', Object.assign(new PassThrough(), { isTTY: true })),
    /terminal/,
  );
});

const TEXT = 'FROM a\nCOPY x .\nRUN npm cii\nCMD x\n';

test('an error shows code, place, excerpt, output and hint', () => {
  const error = new TsbuildError('RUN_FAILED', 'RUN exited with code 127', {
    source: {
      file: 'Dockerfile',
      text: TEXT,
      range: { startLine: 3, startColumn: 1, endLine: 3, endColumn: 12 },
    },
    output: ['/bin/sh: npm: \u001b[31mnot found\u001b[0m'],
    hint: 'install npm',
  });
  assert.equal(
    renderError(error, { color: false }),
    [
      'error: RUN exited with code 127 [RUN_FAILED]',
      '  Dockerfile:3:1',
      '     2 | COPY x .',
      '  >  3 | RUN npm cii',
      '       | ~~~~~~~~~~~',
      '  last output: /bin/sh: npm: not found',
      'hint: install npm',
      '',
    ].join('\n'),
  );
});

test('exit codes tell failures apart', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, mkdir'), {
    ...{ code: 'ENOSPC', syscall: 'mkdir', path: '/state/x' },
  });
  assert.equal(exitCodeOf(full), 1);
  assert.match(
    renderError(full, { color: false }),
    /^error: cannot mkdir "\/state\/x": no space left on device \[DISK_FULL\]\nhint: /,
  );
  assert.equal(exitCodeOf(new Error('x')), 70);
  assert.equal(exitCodeOf(new TsbuildError('USAGE', 'x')), 2);
  assert.equal(exitCodeOf(new TsbuildError('RUN_FAILED', 'x')), 1);
  assert.equal(exitCodeOf(new TsbuildError('ABORTED', 'x')), 130);
  assert.equal(exitCodeOf(new TsbuildError('COMMAND_NOT_FOUND', 'x', { exitCode: 127 })), 127);
  assert.equal(exitCodeOf(new Error('x')), 70);
});

test('secrets in URLs are struck out', () => {
  assert.equal(redact('get https://ann:pw@host/x?token=abc&y=1'), 'get https://***@host/x?token=***&y=1');
  assert.equal(mask('ADD https://ann:pw@host/x /'), 'ADD https://******@host/x /');
  assert.equal(redact('git+ssh://ann:@host and ?a?X-Sig=abc'), 'git+ssh://***@host and ?a?X-Sig=***');
});

test('a megabyte that was made to keep the search for secrets busy is looked through in a moment', () => {
  for (const part of ['x', '?sig', '&token', 'eyJhbGciOiJI', '://a', '://a:', 'Bearer ', 'bearer a'])
    assert.equal(redact(part.repeat(1_000_000 / part.length)).length > 0, true);
});

const EVENTS: readonly ProgressEvent[] = [
  { kind: 'vertex', vertex: 'a', name: '[1/2] FROM x', at: 0 },
  { kind: 'vertex', vertex: 'b', name: '[2/2] RUN y', at: 0 },
  { kind: 'status', vertex: 'a', status: { kind: 'cached' }, at: 5 },
  { kind: 'status', vertex: 'b', status: { kind: 'started' }, at: 10 },
  { kind: 'log', vertex: 'b', stream: 'stdout', data: Buffer.from('one\ntw'), at: 110 },
  { kind: 'log', vertex: 'b', stream: 'stdout', data: Buffer.from('o\n\u001b[1mthree'), at: 210 },
  { kind: 'status', vertex: 'b', status: { kind: 'done' }, at: 1310 },
];

test('plain progress has whole lines, each with its vertex', () => {
  let text = '';
  const renderer = createPlainRenderer((part) => (text += part));
  for (const event of EVENTS) renderer.emit(event);
  renderer.end();
  assert.equal(
    text,
    '#1 [1/2] FROM x\n#1 CACHED\n\n#2 [2/2] RUN y\n#2 0.100 one\n#2 0.200 two\n#2 1.300 three\n#2 DONE 1.3s\n\n',
  );
});

test('a line of one stream that is not ended does not run into the other stream', () => {
  let text = '';
  const renderer = createPlainRenderer((part) => (text += part));
  renderer.emit({ kind: 'vertex', vertex: 'b', name: 'RUN', at: 0 });
  renderer.emit({ kind: 'log', vertex: 'b', stream: 'stdout', data: Buffer.from('out'), at: 0 });
  renderer.emit({ kind: 'log', vertex: 'b', stream: 'stderr', data: Buffer.from('err\n'), at: 0 });
  renderer.emit({ kind: 'status', vertex: 'b', status: { kind: 'done' }, at: 0 });
  assert.match(text, /0\.000 err\n#1 0\.000 out\n/);
});

test('a terminal ends with one line per vertex, none wider than it', () => {
  let text = '';
  const renderer = createTtyRenderer({
    write: (part) => (text += part),
    columns: () => 40,
    rows: () => 20,
    now: () => 1310,
  });
  for (const event of EVENTS) renderer.emit(event);
  renderer.end();
  const lines = text.slice(text.lastIndexOf('[+]')).trimEnd().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[2] ?? '', /^ => \[2\/2\] RUN y +1\.3s$/);
  assert.ok(lines.every((line) => line.length <= 40));
});

test('a flag that is true at first can be taken back', () => {
  assert.ok(parse('history', 'x').boolean('human'));
  assert.ok(!parse('history', '--human=false', 'x').boolean('human'));
});

test('patterns over names stop at slashes', () => {
  for (const [pattern, text, expected] of [
    ['a*', 'abc', true],
    ['a*', 'a/b', false],
    ['*/b', 'a/b', true],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['*', '', true],
    ['a*c*e', 'abcde', true],
    ['a*c*f', 'abcde', false],
  ] as const)
    assert.equal(matchGlob(pattern, text), expected, `${pattern} ${text}`);
});

test("sizes, ages and tables are docker's", () => {
  assert.equal(humanDuration(0.5), 'Less than a second');
  assert.equal(humanDuration(1), '1 second');
  assert.equal(humanDuration(59), '59 seconds');
  assert.equal(humanDuration(61), 'About a minute');
  assert.equal(humanDuration(60 * 61), 'About an hour');
  assert.equal(humanDuration(47 * 3600), '47 hours');
  assert.equal(humanDuration(13 * 86400), '13 days');
  assert.equal(humanDuration(20 * 86400), '2 weeks');
  assert.equal(humanDuration(100 * 86400), '3 months');
  assert.equal(humanDuration(800 * 86400), '2 years');
  assert.equal(binarySize(2047 * 1024), '1.999MiB');
  assert.equal(decimalSize(1_000_000), '1MB');
  assert.equal(formatBytes(999), '999B');
  assert.equal(formatBytes(1_090_000), '1.09MB');
  assert.equal(age('2020-01-01T00:00:00Z', Date.parse('2020-01-03T00:00:01Z')), '2 days ago');
  assert.equal(age(undefined, 0), 'N/A');
  assert.equal(table(['A', 'BB'], [['xxx', 'y']]), 'A     BB\nxxx   y\n');
});

/** `--check` and `--call`, and `debug`: answers without a build. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importBusybox, openWorkspace, runTsbuild } from './fixture.ts';

const DOCKERFILE = `# VERSION which one
ARG VERSION=1
# base is the beginning
FROM bb:1 AS base
ARG VERSION
ENV legacy value
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
FROM base as Last
CMD run
`;

test('--check finds what BuildKit finds, in text, JSON and SARIF, and ends with 1', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', { Dockerfile: DOCKERFILE });
  const text = space.tsbuild(['build', '--check', context]);
  assert.equal(text.code, 1);
  assert.match(text.stdout, /^Check complete, 4 warnings have been found!/);
  assert.match(
    text.stdout,
    /WARNING: LegacyKeyValueFormat - docs\/rules\/legacy-key-value-format\.md\n.*\n {2}.*Dockerfile:6:1\n/,
  );
  const json = JSON.parse(space.tsbuild(['build', '--call=check,format=json', context]).stdout) as {
    readonly warnings: readonly {
      readonly ruleName: string;
      readonly location: { readonly ranges: readonly { readonly start: { readonly line: number } }[] };
    }[];
  };
  assert.deepEqual(
    json.warnings.map(({ ruleName, location }) => [ruleName, location.ranges[0]?.start.line]),
    [
      ['LegacyKeyValueFormat', 6],
      ['FromAsCasing', 8],
      ['StageNameCasing', 8],
      ['JSONArgsRecommended', 9],
    ],
  );
  const sarif = JSON.parse(space.tsbuild(['build', '--check', '--format', 'sarif', context]).stdout) as {
    readonly version: string;
    readonly runs: readonly { readonly results: readonly unknown[] }[];
  };
  assert.deepEqual([sarif.version, sarif.runs[0]?.results.length], ['2.1.0', 4]);
  const clean = space.context('clean', { Dockerfile: 'FROM bb:1\nCMD ["run"]\n' });
  assert.deepEqual(
    [space.tsbuild(['build', '--check', clean]).code, space.tsbuild(['build', '--check', clean]).stdout],
    [0, 'Check complete, no warnings found.\n'],
  );
});

test('--check reports warnings and the error that keeps the file from being built', () => {
  using space = openWorkspace();
  const context = space.context('c', { Dockerfile: 'FROM scratch AS Up\nMAINTAINER me\nRUM x\n' });
  const ended = space.tsbuild(['build', '--check', context]);
  assert.equal(ended.code, 1);
  for (const part of [
    /StageNameCasing/,
    /MaintainerDeprecated/,
    /unknown instruction "RUM"[\s\S]*Dockerfile:3:1/,
  ])
    assert.match(ended.stdout, part);
});

test('# check=error=true makes a build fail before anything runs', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile: '# check=error=true\nFROM bb:1\nRUN echo executed\nCMD x\n',
  });
  const ended = space.tsbuild(['build', '--progress', 'plain', context]);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /JSONArgsRecommended.*CHECK_FAILED[\s\S]*Dockerfile:4:1/);
  assert.doesNotMatch(ended.stderr, /^#\d/m);
});

test('--call=outline and --call=targets list arguments, secrets, agents and stages', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', { Dockerfile: DOCKERFILE });
  const outline = space.ok(['build', '--call=outline', context]).stdout;
  for (const line of [/^TARGET: +last$/m, /^VERSION +1 +which one$/m, /^token +true$/m, /^default +false$/m])
    assert.match(outline, line);
  const targets = space.ok(['build', '--call=targets', context]).stdout;
  assert.match(targets, /^base +is the beginning$/m);
  assert.match(targets, /^last \(default\)$/m);
  const json = JSON.parse(space.ok(['build', '--call=targets,format=json', context]).stdout) as {
    readonly targets: readonly { readonly name: string; readonly base: string; readonly default: boolean }[];
  };
  assert.deepEqual(
    json.targets.map((target) => [target.name, target.base, target.default]),
    [
      ['base', 'bb:1', false],
      ['last', 'base', true],
    ],
  );
});

test('debug answers one request with an object, many with an array, and bad input with exit code 2', () => {
  using space = openWorkspace();
  const ask = (what: string, request: unknown): unknown =>
    JSON.parse(runTsbuild(space, ['debug', what], Buffer.from(JSON.stringify(request))).stdout);
  assert.deepEqual(
    (ask('parse', { dockerfile: 'FROM a\nENV x=1 y="2 3"\nONBUILD RUN ["a"]\n' }) as { dump: string }).dump,
    '(from "a")\n(env "x" "1" "=" "y" "\\"2 3\\"" "=")\n(onbuild (run "a"))',
  );
  assert.deepEqual(ask('expand', [{ word: '${A:-b} $C', env: ['C=d', 'C=e'] }]), [
    { ok: true, result: 'b e', words: ['b', 'e'], matched: ['C'], unmatched: ['A'] },
  ]);
  assert.deepEqual(ask('ignore', { file: '# c\n*.log\n!keep.log\n', paths: ['a.log', 'keep.log'] }), {
    ok: true,
    patterns: ['*.log', '!keep.log'],
    results: [
      { path: 'a.log', ignored: true },
      { path: 'keep.log', ignored: false },
    ],
  });
  assert.equal(runTsbuild(space, ['debug', 'parse'], Buffer.from('{')).code, 2);
  assert.equal(runTsbuild(space, ['debug', 'nothing'], Buffer.from('{}')).code, 2);
});

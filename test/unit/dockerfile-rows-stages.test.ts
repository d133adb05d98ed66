/** FROM, stages and targets. One row of behaviour per name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { inOrder } from '../../src/solver/solve.ts';
import { AMD64, build, copies, found, imageConfig, PATH, refused, runs } from '../suites/frontend-fixture.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

test('1.3 Grammar: one argument or three, AS in either case', async () => {
  assert.deepEqual((await build(`FROM r.io:5000/x/y:1@${DIGEST} As n\n`)).asked, [
    `r.io:5000/x/y:1@${DIGEST}`,
  ]);
  assert.deepEqual(found((await build('FROM a as n\n')).warnings), ['FromAsCasing@1']);
  for (const text of ['FROM', 'FROM a b', 'FROM a AS', 'FROM a AS b c', 'FROM a IS b'])
    await refused(`${text}\n`, 'INSTRUCTION_INVALID', /FROM/, 1);
  await refused('FROM --x=y a\n', 'INSTRUCTION_INVALID', /unknown flag "--x"/, 1);
});

test('1.3 Names: lower case for comparing, letters first, not expanded', async () => {
  assert.deepEqual((await build('FROM a AS One.2_x-y\nFROM one.2_x-y\n')).asked, ['a']);
  for (const name of ['1x', 'a/b', '-a', 'a:b', '$N'])
    await refused(`ARG N=n\nFROM a AS ${name}\n`, 'STAGE_INVALID', /invalid name for a build stage/, 2);
});

test('1.3 Names: of two that are equal, the last before the use counts', async () => {
  const text = 'FROM a AS s\nFROM b AS s\nFROM s\nCOPY --from=s x y\nFROM c AS s\nFROM s\n';
  const made = await build(text, { target: '' });
  assert.deepEqual(made.asked, ['c']);
  const middle = await build('FROM a AS s\nFROM b AS s\nFROM s AS t\nFROM c AS s\n', { target: 't' });
  assert.deepEqual(middle.asked, ['b']);
  assert.deepEqual(found(middle.warnings), ['DuplicateStageName@2', 'DuplicateStageName@4']);
});

test('1.3 Names: scratch and context are warned of', async () => {
  const { warnings } = await build('FROM a AS scratch\nFROM b AS context\n');
  assert.deepEqual(found(warnings), ['ReservedStageName@1', 'ReservedStageName@2']);
});

test('1.3 Resolution: a name is a reference first, so its case counts after FROM', async () => {
  await refused('FROM a AS x\nFROM X\n', 'REFERENCE_INVALID', /must be lowercase/, 2);
  const made = await build('FROM a AS x\nRUN q\nFROM b\nCOPY --from=X f g\n');
  assert.deepEqual(made.asked.toSorted(), ['a', 'b']);
});

test('1.3 Resolution: only earlier stages are meant', async () => {
  assert.deepEqual((await build('FROM later AS one\nFROM a AS later\nFROM one\n')).asked, ['later']);
  assert.deepEqual((await build('ARG N=one\nFROM a AS one\nFROM $N\n')).asked, ['a']);
});

test('1.3 Blank / bad base: both are said, wherever they stand', async () => {
  await refused('FROM $X\n', 'STAGE_INVALID', /"\$X" is blank after expansion/, 1);
  await refused('ARG BASE\nFROM ${BASEE}\n', 'STAGE_INVALID', /did you mean \$BASE\?/, 2);
  await refused('FROM a:b:c AS u\nFROM a\n', 'REFERENCE_INVALID', /"a:b:c" as base/, 1);
});

test('1.3 Blank / bad base: checks say more', async () => {
  const check = async (text: string, buildArgs = {}): Promise<readonly string[]> =>
    found((await build(text, { buildArgs })).warnings);
  assert.deepEqual(await check('ARG V\nFROM a:$V\n', { V: '1' }), ['InvalidDefaultArgInFrom@2']);
  assert.deepEqual(await check('ARG V=1\nFROM a:$V\n', { V: '2' }), []);
  assert.deepEqual(await check('FROM a${NO}\n'), ['UndefinedArgInFrom@1']);
});

test('1.3 --platform: expanded with global arguments', async () => {
  const made = await build('ARG P=linux/arm64\nFROM --platform=$P a\nRUN x\n', {
    resolveImage: (reference, platform) =>
      Promise.resolve({ reference, manifest: digestOf(reference), config: imageConfig({}, platform) }),
  });
  assert.deepEqual(made.platform, { os: 'linux', architecture: 'arm64' });
  assert.deepEqual(runs(made)[0]?.platform, { os: 'linux', architecture: 'arm64' });
});

test('1.3 --platform: what is none is refused for every stage', async () => {
  await refused('FROM --platform=$X a AS u\nFROM b\n', 'PLATFORM_INVALID', /empty platform value/, 1);
  await refused('FROM --platform=a/b/c/d b\n', 'PLATFORM_INVALID', /invalid platform "a\/b\/c\/d"/, 1);
});

test('1.3 --platform: a base for another one is warned of', async () => {
  const { warnings } = await build('FROM a\n', { platform: { os: 'linux', architecture: 'arm64' } });
  assert.deepEqual(found(warnings), ['InvalidBaseImagePlatform@1']);
});

test('1.3 FROM scratch: no layers, a PATH, the root as working directory', async () => {
  const made = await build('FROM scratch\n');
  assert.deepEqual(made.config, { Env: [PATH], WorkingDir: '/' });
  assert.deepEqual([made.asked, made.baseHistory, made.history], [[], [], []]);
  assert.deepEqual(made.target.op, { kind: 'image', platform: AMD64 });
});

test('1.3 --from / from=: a number, a stage in any case, a context, an image', async () => {
  const text = 'FROM a AS one\nRUN x\nFROM b\nCOPY --from=SOURCE f g\nRUN --mount=from=SOURCE,target=/m x\n';
  for (const name of ['0', 'one', 'ONE']) {
    const made = await build(text.replaceAll('SOURCE', name));
    assert.deepEqual(made.asked.toSorted(), ['a', 'b']);
    assert.equal(copies(made)[0]?.sources[0]?.kind, 'paths');
  }
  assert.deepEqual((await build(text.replaceAll('SOURCE', 'r.io/i:1'))).asked.toSorted(), ['b', 'r.io/i:1']);
  const named = await build(text.replaceAll('SOURCE', 'extra'), {
    namedContexts: { extra: { kind: 'directory' } },
  });
  assert.ok(inOrder(named.target).some(({ op }) => op.kind === 'context' && op.name === 'extra'));
  const nothing = await build('FROM b\nCOPY --from=scratch f g\n');
  assert.deepEqual(nothing.asked, ['b']);
});

test('1.3 --from / from=: itself, later ones, numbers that are none', async () => {
  const cases: readonly (readonly [text: string, message: RegExp, line: number])[] = [
    ['FROM a\nCOPY --from=5 x y\n', /invalid stage index 5/, 2],
    ['FROM a AS u\nCOPY --from=7 x y\nFROM b\n', /invalid stage index 7/, 2],
    ['FROM a\nCOPY --from=0 x y\n', /circular dependency/, 2],
    ['FROM a AS me\nCOPY --from=ME x y\n', /circular dependency/, 2],
    ['FROM a AS s\nCOPY --from=later x y\nFROM b AS later\nFROM s\n', /"later": it is defined after/, 2],
    ['FROM a AS s\nCOPY --from=1 x y\nFROM b\nFROM s\n', /stage 1: it is defined after/, 2],
    ['FROM a AS s\nRUN --mount=from=later,target=/x y\nFROM b AS later\nFROM s\n', /defined after/, 2],
  ];
  for (const [text, message, line] of cases) await refused(text, 'STAGE_INVALID', message, line);
});

test('1.3 Reachability: what the target does not need is never asked for', async () => {
  const text =
    'FROM one AS a\nRUN x\nFROM two AS b\nENV X=${u?}\nEXPOSE abc\nCOPY --chmod=9 x y\nFROM three AS c\nCOPY --from=a f g\n';
  assert.deepEqual((await build(text)).asked.toSorted(), ['one', 'three']);
  assert.deepEqual((await build(text, { target: 'a' })).asked, ['one']);
  await refused(text, 'EXPANSION_FAILED', /u: is not allowed/, 4, { target: 'b' });
});

test('1.3 Reachability: syntax, flags and FROM are checked in every stage', async () => {
  await refused('FROM a\nRUM x\nFROM b\n', 'INSTRUCTION_UNKNOWN', /RUN/, 2);
  await refused('FROM a\nCOPY --fro=x y z\nFROM b\n', 'INSTRUCTION_INVALID', /unknown flag/, 2);
  await refused('FROM a\nRUN --mount=from=$x y\nFROM b\n', 'INSTRUCTION_INVALID', /'from'/, 2);
});

test('1.3 --target: a name in any case, no number, a near one is named', async () => {
  const text = 'FROM a AS build\nFROM b\n';
  assert.deepEqual((await build(text, { target: 'BUILD' })).asked, ['a']);
  await refused(text, 'STAGE_NOT_FOUND', /"0" could not be found/, undefined, { target: '0' });
  await refused(text, 'STAGE_NOT_FOUND', /did you mean "build"/, undefined, { target: 'bulid' });
});

test("1.3 Config inheritance: everything of the base's config is kept", async () => {
  const config = {
    User: 'u',
    ExposedPorts: { '80/tcp': {} },
    Env: ['A=b', 'PATH=/p'],
    Entrypoint: ['e'],
    Cmd: ['c'],
    Volumes: { '/v': {} },
    WorkingDir: '/w',
    Labels: { l: '1' },
    StopSignal: 'SIGINT',
    Healthcheck: { Test: ['NONE'] },
    Shell: ['/s'],
  };
  const made = await build('FROM base\n', {}, { base: config });
  assert.deepEqual(made.config, config);
  assert.deepEqual(made.baseHistory, [{ created_by: 'base' }]);
  assert.deepEqual((await build('FROM base AS x\nFROM x\n', {}, { base: config })).config, config);
});

test('1.3 Config inheritance: a PATH is added, labels of the command line are last', async () => {
  const images = { base: { Env: ['A=b'], Labels: { z: 'base', x: 'base' } } };
  const made = await build('FROM base\nLABEL x=file y=file\n', { labels: { y: 'user', a: 'user' } }, images);
  assert.deepEqual(made.config.Env, ['A=b', PATH]);
  assert.deepEqual(Object.entries(made.config.Labels ?? {}), [
    ['a', 'user'],
    ['x', 'file'],
    ['y', 'user'],
    ['z', 'base'],
  ]);
});

test('1.3 CMD/ENTRYPOINT reset: an inherited CMD goes, one of this stage stays', async () => {
  const images = { base: { Cmd: ['old'] } };
  const cmd = async (text: string): Promise<readonly string[] | undefined> =>
    (await build(text, {}, images)).config.Cmd;
  assert.equal(await cmd('FROM base\nENTRYPOINT ["e"]\n'), undefined);
  assert.deepEqual(await cmd('FROM base\nCMD ["n"]\nENTRYPOINT ["e"]\n'), ['n']);
  assert.deepEqual(await cmd('FROM base\nENTRYPOINT ["e"]\nCMD ["n"]\n'), ['n']);
  assert.equal(await cmd('FROM base AS p\nCMD ["n"]\nFROM p\nENTRYPOINT ["e"]\n'), undefined);
  assert.deepEqual(await cmd('FROM base\nRUN x\n'), ['old']);
});

test('a long chain of stages does not need a deep stack', async () => {
  const chain = Array.from({ length: 10_000 }, (_, index) => `FROM s${index} AS s${index + 1}\n`).join('');
  assert.deepEqual((await build(`FROM a AS s0\n${chain}`)).asked, ['a']);
});

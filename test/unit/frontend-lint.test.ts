/** The checks: what each rule sees and does not see, where it points, and who may silence it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import type { FrontendWarning } from '../../src/graph/graph.ts';
import { checkDockerfile, createBuildGraph, type CheckResult } from '../../frontend/frontend.ts';
import { RULES, type RuleName } from '../../frontend/lint/rules.ts';
import { build, found, refused, requestOf, type Changes, type Images } from '../suites/frontend-fixture.ts';

const check = (text: string, changes: Changes = {}, images: Images = {}): Promise<CheckResult> =>
  checkDockerfile(requestOf(text, changes, images));

interface Case {
  readonly text: string;
  /** `Rule@line`. */
  readonly warnings: readonly string[];
  readonly changes?: Changes;
  readonly images?: Images;
}

const none: readonly string[] = [];
const experimental: Changes = { buildArgs: { BUILDKIT_DOCKERFILE_CHECK: 'experimental=all' } };
const ignoring: Changes = { ...experimental, isIgnored: (path) => path === 'a' || path === 'd/e' };

const CASES: Readonly<Record<RuleName, readonly Case[]>> = {
  ConsistentInstructionCasing: [
    {
      text: 'FROM a\nRUN x\nrun y\nRun z',
      warnings: ['ConsistentInstructionCasing@3', 'ConsistentInstructionCasing@4'],
    },
    { text: 'from a\nrun x\nRUN y', warnings: ['ConsistentInstructionCasing@3'] },
    // A draw goes to upper-case; arguments before the first FROM have no vote.
    { text: 'arg V=1\narg W=1\nFROM a\nrun x', warnings: ['ConsistentInstructionCasing@4'] },
    { text: 'from a\nrun x', warnings: none },
  ],
  CopyIgnoredFile: [
    {
      text: 'FROM a\nCOPY a b /x/\nADD ./d//e/ /',
      changes: ignoring,
      warnings: ['CopyIgnoredFile@2', 'CopyIgnoredFile@3'],
    },
    { text: 'FROM a AS s\nFROM b\nCOPY --from=s a /x', changes: ignoring, warnings: none },
    { text: 'FROM a\nCOPY a /x', changes: { isIgnored: () => true }, warnings: none },
    {
      text: 'FROM a\nADD https://h/a /x',
      changes: {
        ...ignoring,
        context: { kind: 'git', source: { url: 'u', keepGitDir: false, submodules: true } },
      },
      warnings: none,
    },
  ],
  DuplicateStageName: [
    {
      text: 'FROM a AS s\nFROM b AS S\nFROM c AS t',
      warnings: ['StageNameCasing@2', 'DuplicateStageName@2'],
    },
    { text: 'FROM a\nFROM b', warnings: none },
  ],
  ExposeInvalidFormat: [
    {
      text: 'FROM a\nEXPOSE 80 1:2 1.2.3.4:5:6',
      warnings: ['ExposeInvalidFormat@2', 'ExposeInvalidFormat@2'],
    },
    { text: 'FROM a\nEXPOSE 80-90/udp', warnings: none },
  ],
  ExposeProtoCasing: [
    {
      text: 'FROM a\nENV P=80/Udp\nEXPOSE 1/TCP $P 2/tcp',
      warnings: ['ExposeProtoCasing@3', 'ExposeProtoCasing@3'],
    },
  ],
  FromAsCasing: [
    { text: 'FROM a as s\nFROM b As t\nFROM c AS u', warnings: ['FromAsCasing@1', 'FromAsCasing@2'] },
    { text: 'from a AS s\nfrom b as t', warnings: ['FromAsCasing@1'] },
    // With FROM in mixed case there is nothing to follow.
    { text: 'From a as s', warnings: ['ConsistentInstructionCasing@1'] },
  ],
  FromPlatformFlagConstDisallowed: [
    { text: 'FROM --platform=linux/amd64 a AS s', warnings: ['FromPlatformFlagConstDisallowed@1'] },
    { text: 'FROM --platform=linux/amd64 a AS build-amd64', warnings: none },
    { text: 'FROM --platform=linux/amd64 a AS linux', warnings: none },
    { text: 'ARG P=linux/amd64\nFROM --platform=$P a', warnings: none },
    { text: 'FROM --platform=$BUILDPLATFORM a', warnings: none },
  ],
  InvalidBaseImagePlatform: [
    {
      text: 'FROM a AS s\nFROM b',
      changes: { platform: { os: 'linux', architecture: 'arm64' } },
      warnings: ['InvalidBaseImagePlatform@1', 'InvalidBaseImagePlatform@2'],
    },
  ],
  InvalidDefaultArgInFrom: [
    {
      text: 'ARG T\nFROM a:${T}',
      changes: { buildArgs: { T: '1' } },
      warnings: ['InvalidDefaultArgInFrom@2'],
    },
    { text: 'ARG B\nFROM $B', changes: { buildArgs: { B: 'a' } }, warnings: ['InvalidDefaultArgInFrom@2'] },
    { text: 'ARG T\nFROM a${T:+:$T}', changes: { buildArgs: { T: '1' } }, warnings: none },
    { text: 'ARG T=1\nFROM a:$T AS s\nFROM s', warnings: none },
  ],
  InvalidDefinitionDescription: [
    {
      text: '# x\nARG V=1\n# y\nFROM a AS s',
      changes: experimental,
      warnings: ['InvalidDefinitionDescription@2', 'InvalidDefinitionDescription@4'],
    },
    { text: '# V x\nARG V=1\n# s y\nFROM a AS s', changes: experimental, warnings: none },
    { text: '# x\n\nARG V=1\n# y\n#\nFROM a AS s', changes: experimental, warnings: none },
    { text: '# y\nFROM a\n# z\nRUN x', changes: experimental, warnings: none },
    {
      text: '# W x\nARG V=1 W=2\n# x\nARG X=1 Y=2\nFROM a',
      changes: experimental,
      warnings: ['InvalidDefinitionDescription@4'],
    },
    { text: '# x\nARG V=1\nFROM a', warnings: none },
  ],
  JSONArgsRecommended: [
    { text: 'FROM a\nCMD x\nENTRYPOINT y', warnings: ['JSONArgsRecommended@2', 'JSONArgsRecommended@3'] },
    { text: 'FROM a\nSHELL ["/s"]\nCMD x', warnings: none },
    { text: 'FROM a\nCMD x', images: { a: { Shell: ['/s'] } }, warnings: none },
    { text: 'FROM a\nCMD ["x"]\nHEALTHCHECK CMD x', warnings: none },
    { text: "FROM a\nCMD ['x']", warnings: ['JSONArgsRecommended@2'] },
  ],
  LegacyKeyValueFormat: [
    {
      text: 'FROM a\nENV x y\nLABEL x y\nENV x=y',
      warnings: ['LegacyKeyValueFormat@2', 'LegacyKeyValueFormat@3'],
    },
  ],
  MaintainerDeprecated: [{ text: 'FROM a\nMAINTAINER x', warnings: ['MaintainerDeprecated@2'] }],
  MultipleInstructionsDisallowed: [
    // The one that does nothing is shown: the earlier.
    {
      text: 'FROM a\nCMD ["1"]\nRUN x\nCMD ["2"]\nCMD ["3"]',
      warnings: ['MultipleInstructionsDisallowed@2', 'MultipleInstructionsDisallowed@4'],
    },
    {
      text: 'FROM a\nENTRYPOINT ["1"]\nCMD ["2"]\nENTRYPOINT ["3"]',
      warnings: ['MultipleInstructionsDisallowed@2'],
    },
    {
      text: 'FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD ["x"]',
      warnings: ['MultipleInstructionsDisallowed@2'],
    },
    { text: 'FROM a AS s\nCMD ["1"]\nFROM s\nCMD ["2"]', warnings: none },
  ],
  NoEmptyContinuation: [
    // At the instruction's last line, not where the empty one is.
    { text: 'FROM a\nRUN x \\\n\n y \\\n z\nRUN n', warnings: ['NoEmptyContinuation@5'] },
    { text: 'FROM a\nRUN cat \\\n\n <<E\n1\nE', warnings: ['NoEmptyContinuation@4'] },
    { text: 'FROM a\nRUN x \\\n# c\n y\nRUN <<E\n\nE', warnings: none },
  ],
  RedundantTargetPlatform: [
    {
      text: 'FROM --platform=$TARGETPLATFORM a AS s\nFROM --platform=${TARGETPLATFORM} b',
      warnings: ['RedundantTargetPlatform@1', 'RedundantTargetPlatform@2'],
    },
    { text: 'FROM --platform=$BUILDPLATFORM a', warnings: none },
  ],
  ReservedStageName: [
    {
      text: 'FROM a AS scratch\nFROM b AS Context',
      warnings: ['StageNameCasing@2', 'ReservedStageName@1', 'ReservedStageName@2'],
    },
  ],
  SecretsUsedInArgOrEnv: [
    {
      text: 'FROM a\nARG API_TOKEN\nENV DB_PASSWORD=x OTHER=y',
      warnings: ['SecretsUsedInArgOrEnv@2', 'SecretsUsedInArgOrEnv@3'],
    },
    {
      text: 'FROM a\nARG secret KEY=1\nENV AUTH=1',
      warnings: ['SecretsUsedInArgOrEnv@2', 'SecretsUsedInArgOrEnv@2', 'SecretsUsedInArgOrEnv@3'],
    },
    { text: 'FROM a\nENV PUBLIC_KEY=1 KEY_FILE=2 TOKEN_VERSION=3 MONKEY=4 TOKENS=5', warnings: none },
    { text: 'FROM a\nLABEL password=x', warnings: none },
  ],
  StageNameCasing: [{ text: 'FROM a AS Build\nFROM b AS c', warnings: ['StageNameCasing@1'] }],
  UndefinedArgInFrom: [
    { text: 'FROM a$X AS s\nFROM b${Y:-c}', warnings: ['UndefinedArgInFrom@1', 'UndefinedArgInFrom@2'] },
    { text: 'ARG X\nFROM a$X', warnings: none },
    { text: 'FROM a AS s\nARG X=1\nFROM b$X', warnings: ['UndefinedArgInFrom@3'] },
    { text: 'FROM --platform=linux/amd64$X a', warnings: ['UndefinedArgInFrom@1'] },
  ],
  UndefinedVar: [
    {
      text: 'FROM a\nENV x=$y\nWORKDIR /$z \nCOPY $q \\\n r',
      warnings: ['UndefinedVar@2', 'UndefinedVar@3', 'UndefinedVar@4'],
    },
    { text: 'FROM a\nARG y\nENV x=$y\nUSER $PATH\nRUN $none', warnings: none },
    { text: 'FROM a\nUSER $y', images: { a: { Env: ['y=1'] } }, warnings: none },
    { text: 'ARG y=1\nFROM a\nUSER $y', warnings: ['UndefinedVar@3'] },
    { text: 'FROM a\nUSER ${y:-x}', warnings: ['UndefinedVar@2'] },
    { text: 'FROM a\nUSER $y$y', warnings: ['UndefinedVar@2'] },
  ],
  WorkdirRelativePath: [
    { text: 'FROM a\nWORKDIR x\nWORKDIR y', warnings: ['WorkdirRelativePath@2'] },
    { text: 'FROM a AS s\nWORKDIR /x\nFROM s\nWORKDIR y', warnings: none },
    { text: 'FROM a\nENV W=/w\nWORKDIR $W', warnings: none },
  ],
};

for (const name of Object.keys(RULES) as RuleName[])
  test(`${name} sees what it shall see, where it stands`, async () => {
    for (const { text, warnings, changes, images } of CASES[name]) {
      const result = await check(text, changes, images);
      assert.equal(result.error, undefined, text);
      assert.deepEqual(found(result.warnings), warnings, text);
    }
  });

test('messages name what they mean', async () => {
  const messages = async (text: string): Promise<string> =>
    (await check(text)).warnings.map(({ message }) => message).join('\n');
  assert.match(await messages('ARG VARIANT\nFROM a$VARAINT\n'), /did you mean VARIANT\?/);
  assert.match(await messages('FROM a\nENV PREFIX=x\nUSER $PREFX\n'), /did you mean \$PREFIX\?/);
  assert.match(await messages('FROM a as x\n'), /write 'AS'/);
});

const TWO_STAGES =
  'FROM a AS one\nUSER $x\nCMD y\nFROM b AS two\nUSER $z\nFROM c AS three\nCOPY --from=two /f /g\n';

test('a build hears of the stages that it needs', async () => {
  assert.deepEqual(found((await build(TWO_STAGES)).warnings), ['UndefinedVar@5']);
  assert.deepEqual(found((await build(TWO_STAGES, { target: 'one' })).warnings), [
    'UndefinedVar@2',
    'JSONArgsRecommended@3',
  ]);
});

test('a check hears of all stages, or of those of its target', async () => {
  assert.deepEqual(found((await check(TWO_STAGES)).warnings), [
    'UndefinedVar@2',
    'JSONArgsRecommended@3',
    'UndefinedVar@5',
  ]);
  assert.deepEqual(found((await check(TWO_STAGES, { target: 'three' })).warnings), ['UndefinedVar@5']);
});

test('what needs the file alone is seen whatever the target is', async () => {
  const text = 'FROM a as one\nMAINTAINER x\nRUN x \\\n\n y\nFROM b AS two\n';
  assert.deepEqual(found((await build(text)).warnings), [
    'NoEmptyContinuation@5',
    'FromAsCasing@1',
    'MaintainerDeprecated@2',
  ]);
});

const MANY = 'FROM a as b\nENV x y\nCMD z\n';
const directive = async (
  line: string,
  buildArgs: Readonly<Record<string, string>> = {},
): Promise<readonly string[]> => found((await check(`# check=${line}\n${MANY}`, { buildArgs })).warnings);

test('the directive skips rules, or all', async () => {
  assert.deepEqual(await directive('skip=all'), []);
  assert.deepEqual(await directive('skip=FromAsCasing, LegacyKeyValueFormat'), ['JSONArgsRecommended@4']);
  assert.equal((await directive('skip=Unknown')).length, 3);
  assert.equal((await directive('error=false')).length, 3);
});

test('skip=all is not for experimental rules, which speak when asked for', async () => {
  const text = (line: string): string => `# check=${line}\n# x\nARG V\nFROM a as b\n`;
  assert.deepEqual(found((await check(text('skip=all;experimental=all'))).warnings), [
    'InvalidDefinitionDescription@3',
  ]);
  assert.deepEqual(found((await check(text('experimental=InvalidDefinitionDescription'))).warnings), [
    'InvalidDefinitionDescription@3',
    'FromAsCasing@4',
  ]);
  assert.deepEqual(found((await check(text('experimental=CopyIgnoredFile'))).warnings), ['FromAsCasing@4']);
});

test('warnings that shall be errors make a build fail, at the first of them', async () => {
  const text = `# check=skip=FromAsCasing,Unknown;error=true\n${MANY}`;
  await refused(text, 'CHECK_FAILED', /LegacyKeyValueFormat, JSONArgsRecommended/, 3);
  const { warnings, error } = await check(text);
  assert.deepEqual(found(warnings), ['LegacyKeyValueFormat@3', 'JSONArgsRecommended@4']);
  assert.ok(isTsbuildError(error, 'CHECK_FAILED'));
  assert.deepEqual((await build('# check=error=true\nFROM a\n')).warnings, []);
  assert.deepEqual((await build(`# check=error=true;skip=all\n${MANY}`)).warnings, []);
});

test('the build argument takes the place of the directive', async () => {
  const given = (value: string): Promise<readonly string[]> =>
    directive('skip=all', { BUILDKIT_DOCKERFILE_CHECK: value });
  assert.equal((await given('')).length, 3);
  assert.deepEqual(await given('skip=JSONArgsRecommended'), ['FromAsCasing@2', 'LegacyKeyValueFormat@3']);
  await refused(`# check=skip=all\n${MANY}`, 'CHECK_FAILED', /FromAsCasing/, 2, {
    buildArgs: { BUILDKIT_DOCKERFILE_CHECK: 'error=true' },
  });
});

test('a comment above an instruction silences it alone', async () => {
  const text = 'FROM a\n# check=skip=LegacyKeyValueFormat\nENV a b\nENV c d\n#check=skip=all\nCMD \\\n\n x\n';
  assert.deepEqual(found((await check(text)).warnings), ['LegacyKeyValueFormat@4']);
  assert.deepEqual(
    found((await check('FROM a\n# check=skip=all\n\nCMD x\n# check = whether it works\nENV a b\n')).warnings),
    ['JSONArgsRecommended@4', 'LegacyKeyValueFormat@6'],
  );
});

test('warnings are told as they are found, also where an error follows', async () => {
  const told: FrontendWarning[] = [];
  const onWarning = (warning: FrontendWarning): void => void told.push(warning);
  const text = 'FROM a as b\nENV x y\nEXPOSE none\nCMD z\n';
  await assert.rejects(createBuildGraph(requestOf(text, { onWarning })));
  assert.deepEqual(found(told), ['FromAsCasing@1', 'LegacyKeyValueFormat@2']);
  const { warnings, error } = await check(text);
  assert.deepEqual(found(warnings), found(told));
  assert.ok(isTsbuildError(error, 'INSTRUCTION_INVALID'));
  assert.deepEqual(found((await check('FROM a as b\nRUM x\n')).warnings), ['FromAsCasing@1']);
});

test('a check hands on what is no fault of the Dockerfile', async () => {
  const resolveImage = (): Promise<never> => Promise.reject(new RangeError('lost'));
  await assert.rejects(check('FROM a\n', { resolveImage }), RangeError);
});

for (const option of ['skip', 'skip=all;x=y', 'error=maybe', 'experimental', 'nonsense', 'skip=all;'])
  test(`the check option ${JSON.stringify(option)} is refused`, async () => {
    await refused(`# check=${option}\nFROM a\n`, 'DOCKERFILE_SYNTAX', /invalid check option/, 1);
    const changes = { buildArgs: { BUILDKIT_DOCKERFILE_CHECK: option } };
    await refused('FROM a\n', 'DOCKERFILE_SYNTAX', /invalid check option/, undefined, changes);
  });

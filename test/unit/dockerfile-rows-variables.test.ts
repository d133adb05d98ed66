/** Variables: operators, quotes, which instructions know them, and how ARG and ENV decide. One row per name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { expandWord } from '../../frontend/expand/expand.ts';
import {
  build,
  copies,
  createdBy,
  found,
  PATH,
  refused,
  runs,
  variable,
} from '../suites/frontend-fixture.ts';

const values: Readonly<Record<string, string>> = {
  S: 'a/b/a.tar.gz',
  E: '',
  A: 'value',
  star: 'a*b?c[d]\\',
  lines: 'one\ntwo',
};
const expand = (text: string, escape = '\\'): string =>
  expandWord(text, { escape, lookup: (name) => values[name] });

function expandsTo(table: readonly (readonly [text: string, expanded: string])[]): void {
  for (const [text, expanded] of table) assert.equal(expand(text), expanded, text);
}

function failsWith(table: readonly (readonly [text: string, message: RegExp])[]): void {
  for (const [text, message] of table)
    assert.throws(
      () => expand(text),
      (error) => isTsbuildError(error, 'EXPANSION_FAILED') && message.test(error.message),
      text,
    );
}

test('1.2 Operators: - + ? with and without a colon', () => {
  expandsTo([
    ['$A-${A}', 'value-value'],
    ['${A:-w}|${E:-w}|${U:-w}', 'value|w|w'],
    ['${A-w}|${E-w}|${U-w}', 'value||w'],
    ['${A:+w}|${E:+w}|${U:+w}', 'w||'],
    ['${A+w}|${E+w}|${U+w}', 'w|w|'],
    ['${A:?m}|${A?m}|${E?m}', 'value|value|'],
    ['${U:-${S#a/}}', 'b/a.tar.gz'],
    ['${U:-"q w" $A}', 'q w value'],
    ['${U:-${V:-${A}}}', 'value'],
  ]);
});

test('1.2 Operators: the others of a shell are refused', () => {
  failsWith([
    ['${A=w}', /unsupported modifier \(=\)/],
    ['${A:=w}', /unsupported modifier \(:=\)/],
    ['${A:1}', /unsupported modifier \(:1\)/],
    ['${A^}', /unsupported modifier \(\^\)/],
    ['${A,}', /unsupported modifier \(,\)/],
    ['${#A}', /unsupported modifier \(A\)/],
    ['${!A}', /unsupported modifier \(A\)/],
  ]);
  // Not anchored: a # at the beginning of the pattern is a #.
  expandsTo([['${S/#a/x}', 'a/b/a.tar.gz']]);
});

test('1.2 Patterns: shortest and longest, from both ends', () => {
  expandsTo([
    ['${S#*/}', 'b/a.tar.gz'],
    ['${S##*/}', 'a.tar.gz'],
    ['${S%.*}', 'a/b/a.tar'],
    ['${S%%.*}', 'a/b/a'],
    ['${S#?}', '/b/a.tar.gz'],
    ['${S%?z}', 'a/b/a.tar.'],
    ['${S#x}', 'a/b/a.tar.gz'],
  ]);
});

test('1.2 Patterns: replacing is greedy, once or everywhere', () => {
  expandsTo([
    ['${S/a/X}', 'X/b/a.tar.gz'],
    ['${S//a/X}', 'X/b/X.tXr.gz'],
    ['${S/b*a/X}', 'a/Xr.gz'],
    ['${S/\\//-}', 'a-b/a.tar.gz'],
    ['${S//\\//-}', 'a-b-a.tar.gz'],
    ['${S/b/$A}', 'a/value/a.tar.gz'],
    ['${S//?/x}', 'xxxxxxxxxxxx'],
  ]);
});

test('1.2 Patterns: [ is a character, a backslash takes a meaning away', () => {
  expandsTo([
    ['${star#a\\*}', 'b?c[d]\\'],
    ['${star%[d]\\\\}', 'a*b?c'],
    ['${star/\\?/x}', 'a*bxc[d]\\'],
    ['${A#[v]}', 'value'],
    ['${A#v\\}}', 'value'],
  ]);
  failsWith([
    ['${A/x}', /missing '\/' in/],
    ['${A#\\x}', /"\\\\x" is no escape/],
    ['${U//\\./x}', /"\\\\\." is no escape/],
  ]);
});

test('1.2 Patterns: a colon changes nothing, an unset variable is empty, * and ? stay within a line', () => {
  expandsTo([
    ['${S:#*/}|${S:%.*}', 'b/a.tar.gz|a/b/a.tar'],
    ['${U#x}|${U/$E/new}|${E//$E/new}', '|new|new'],
    ['${lines#*}|${lines##*}|${lines%%*}', 'one\ntwo|\ntwo|one\n'],
    ['${lines#*t}|${lines/?two/x}', 'one\ntwo|one\ntwo'],
    ['${lines//*/x}', 'x\nx'],
    ['${lines//o/0}', '0ne\ntw0'],
  ]);
});

test('1.2 Errors: each says what is wrong', async () => {
  failsWith([
    ['${}', /bad substitution/],
    ['${A', /not closed/],
    ['${A:-x', /not closed/],
    ["a'b", /looking for matching single-quote/],
    ['a"b', /looking for matching double-quote/],
    ['${U:?msg}', /"\$\{U:\?msg\}": U: msg$/],
    ['${U?}', /U: is not allowed to be unset/],
    ['${E:?}', /E: is not allowed to be empty/],
  ]);
  await refused('FROM a\nENV x=1 \\\n  y=${b?gone}\n', 'EXPANSION_FAILED', /b: gone/, 3);
});

test('1.2 Quotes/escapes: what they keep', () => {
  expandsTo([
    ["'$A \\x'", '$A \\x'],
    ['"$A \\" \\$ \\\\ \\x"', 'value " $ \\ \\x'],
    ['\\a\\$A\\\\', 'a$A\\'],
    ['end\\', 'end'],
    ['$$|$@|$*|$#|$?|$-|$!|$0|$1|${1}|$é', '||||||||||'],
    ['$', '$'],
    ['a$ b$.', 'a$ b$.'],
  ]);
  assert.equal(expand('`$A\\$A', '`'), '$A\\value');
});

test('1.2 Which instructions: those that expand', async () => {
  const made = await build(
    'ARG P=linux/amd64 T=1\nFROM --platform=$P img:$T\nENV V=v K=key N=5\nENV $K=x\nLABEL l$V=$V\nARG D$V=$V\n' +
      'WORKDIR /$V\nUSER $V\nVOLUME /$V\nSTOPSIGNAL $N\nEXPOSE 8$N "9${N}-9${N}"\n' +
      'COPY --chown=$V --chmod=75$N --exclude=$V $V/f $V/\nCOPY <<$V <<"E" /d/\n$V\n$V\n$V\nE\n' +
      'RUN --mount=type=cache,target=/$V,id=$V x\n',
  );
  assert.deepEqual(made.asked, ['img:1']);
  assert.ok(made.config.Env?.includes('key=x'));
  assert.deepEqual(made.config.Labels, { lv: 'v' });
  // why: BuildKit does not expand the names of ARGs, whatever can be read about it.
  assert.deepEqual([variable(made, 'D$V'), variable(made, 'Dv')], ['v', undefined]);
  assert.deepEqual([made.config.WorkingDir, made.config.User, made.config.StopSignal], ['/v', 'v', '5']);
  assert.deepEqual(Object.keys(made.config.ExposedPorts ?? {}), ['85/tcp', '95/tcp']);
  assert.deepEqual(Object.keys(made.config.Volumes ?? {}), ['/v']);
  const copy = copies(made).find(({ chmod }) => chmod !== undefined);
  assert.deepEqual(
    [copy?.owner, copy?.chmod, copy?.excludes, copy?.destination, copy?.sources],
    [{ user: 'v' }, '755', ['$V'], '/v/v/', [{ kind: 'paths', input: 1, patterns: ['v/f'] }]],
  );
  const mount = runs(made)[0]?.mounts[0];
  assert.ok(mount?.kind === 'cache' && mount.target === '/v' && mount.id === 'v');
});

test('1.2 Which instructions: bodies of heredocs, unless the delimiter is quoted', async () => {
  const made = await build('FROM a\nENV V=v\nCOPY <<f <<"g" /d/\n$V "${V}" \\$V\nf\n$V\ng\n');
  assert.deepEqual(copies(made)[0]?.sources, [
    { kind: 'inline', name: 'f', content: 'v "v" $V\n' },
    { kind: 'inline', name: 'g', content: '$V\n' },
  ]);
});

test('1.2 Which instructions: the escape in a body is always a backslash', async () => {
  const made = await build('# escape=`\nFROM a\nENV V=v\nCOPY <<f /\n`$V \\$V\nf\n');
  assert.deepEqual(copies(made)[0]?.sources, [{ kind: 'inline', name: 'f', content: '`v $V\n' }]);
});

test('1.2 Which instructions: those that do not', async () => {
  const made = await build(
    'FROM a\nENV V=v\nRUN $V\nSHELL ["$V"]\nCMD ["$V"]\nENTRYPOINT $V\nHEALTHCHECK CMD $V\nMAINTAINER $V\nONBUILD RUN $V\n',
  );
  const { Shell, Cmd, Entrypoint, Healthcheck, OnBuild } = made.config;
  assert.deepEqual(runs(made)[0]?.args, ['/bin/sh', '-c', '$V']);
  assert.deepEqual([Shell, Cmd, Entrypoint], [['$V'], ['$V'], ['$V', '$V']]);
  assert.deepEqual([Healthcheck?.Test, OnBuild, made.author], [['CMD-SHELL', '$V'], ['RUN $V'], '$V']);
});

test('1.2 Which instructions: a variable in from is refused', async () => {
  await refused('FROM a\nCOPY --from=$V x y\n', 'INSTRUCTION_INVALID', /not expanded in --from/, 2);
  await refused('FROM a\nRUN --mount=from=$V,target=/x y\n', 'INSTRUCTION_INVALID', /'from' .* variables/, 2);
});

test('1.2 Which instructions: --checksum of ADD', async () => {
  const made = await build(`FROM a\nARG S=${'0'.repeat(64)}\nADD --checksum=sha256:$S https://x/y /z\n`);
  assert.ok(
    made.target.inputs.some(({ op }) => op.kind === 'http' && op.checksum === `sha256:${'0'.repeat(64)}`),
  );
});

test('1.2 Same-instruction rule: an instruction sees the variables from before it', async () => {
  const made = await build('FROM a\nENV A=0\nENV A=1 B=$A\nLABEL x=$B\nENV C=1 D=$C\nRUN x\n');
  assert.deepEqual(made.config.Env, [PATH, 'A=1', 'B=0', 'C=1', 'D=']);
  assert.deepEqual(made.config.Labels, { x: '0' });
  assert.deepEqual(found(made.warnings), ['UndefinedVar@5']);
});

test('1.2 Same-instruction rule: ARGs of one instruction see each other, in order', async () => {
  const made = await build('FROM a\nARG C=1 D=$C E=$F F=2\nRUN x\n');
  assert.deepEqual(
    ['C', 'D', 'E', 'F'].map((name) => variable(made, name)),
    ['1', '1', '', '2'],
  );
  assert.deepEqual(found(made.warnings), ['UndefinedVar@2']);
});

test('1.2 Global ARG: FROM sees it, a stage only when it asks', async () => {
  const text = 'ARG A=1\nARG B=$A-2\nARG N\nFROM x:$B\nARG A N\nRUN x $B\n';
  const made = await build(text);
  assert.deepEqual(made.asked, ['x:1-2']);
  assert.deepEqual(
    ['A', 'B', 'N'].map((name) => variable(made, name)),
    ['1', undefined, undefined],
  );
  const given = await build(text, { buildArgs: { A: '5', N: 'n' } });
  assert.deepEqual(given.asked, ['x:5-2']);
  assert.deepEqual(
    ['A', 'B', 'N'].map((name) => variable(given, name)),
    ['5', undefined, 'n'],
  );
});

test('1.2 Global ARG: several on a line see each other, a default that is not needed is not looked at', async () => {
  assert.deepEqual((await build('ARG A=1 B=$A\nFROM x:$B\n')).asked, ['x:1']);
  const given = { buildArgs: { A: '2' } };
  assert.deepEqual((await build('ARG A=${none?needed}\nFROM x:$A\n', given)).asked, ['x:2']);
  await refused('ARG A=${none?needed}\nFROM x:$A\n', 'EXPANSION_FAILED', /needed/, 1);
});

test('1.2 Stage ARG: build argument, then default, then global', async () => {
  const value = async (line: string, buildArgs: Record<string, string> = {}): Promise<string | undefined> =>
    variable(await build(`ARG X=global\nFROM a\n${line}\nRUN x\n`, { buildArgs }), 'X');
  assert.equal(await value('ARG X=default', { X: 'given' }), 'given');
  assert.equal(await value('ARG X=default'), 'default');
  assert.equal(await value('ARG X'), 'global');
  assert.equal(await value('ARG X='), '');
  assert.equal(await value('ARG X=', { X: '' }), '');
  assert.equal(await value('ARG Y'), undefined);
});

test('1.2 Stage ARG: a stage made from another has its arguments', async () => {
  assert.equal(variable(await build('FROM a AS b\nARG X=1\nFROM b\nRUN x\n'), 'X'), '1');
  assert.equal(variable(await build('FROM a AS b\nARG X=1\nFROM a\nRUN x\n'), 'X'), undefined);
});

test('1.2 Stage ARG: order decides between ARG and ENV, not kind', async () => {
  const after = await build('FROM a\nENV A=1\nARG A=2\nENV B=$A\nRUN x\n');
  assert.equal(variable(after, 'A'), '2');
  assert.deepEqual(after.config.Env, [PATH, 'A=1', 'B=2']);
  const given = await build('FROM a\nENV A=1\nARG A\nRUN x\n', { buildArgs: { A: '3' } });
  assert.equal(variable(given, 'A'), '3');
  assert.equal(variable(await build('FROM a\nARG A=2\nENV A=1\nRUN x\n'), 'A'), '1');
  assert.equal(variable(await build('FROM a\nENV A=1\nARG A\nRUN x\n'), 'A'), '1');
  const path = await build('FROM a\nARG PATH=/foo\nRUN x\n');
  assert.equal(variable(path, 'PATH'), '/foo');
  assert.deepEqual(path.config.Env, [PATH]);
});

test('1.2 Predefined proxies: RUN sees them in both cases, history and expansion do not', async () => {
  for (const name of ['HTTP_PROXY', 'https_proxy', 'FTP_PROXY', 'no_proxy', 'ALL_PROXY']) {
    const made = await build(`FROM a\nENV X=\${${name}}\nRUN x\n`, { buildArgs: { [name]: 'p' } });
    assert.equal(variable(made, name.toUpperCase()), 'p');
    assert.equal(variable(made, name.toLowerCase()), 'p');
    assert.deepEqual(runs(made)[0]?.volatileEnv.toSorted(), [name.toUpperCase(), name.toLowerCase()]);
    assert.equal(createdBy(made).at(-1), 'RUN /bin/sh -c x # buildkit');
    assert.equal(made.config.Env?.at(-1), 'X=');
    assert.deepEqual(made.unusedArgs, []);
  }
});

test('1.2 Predefined proxies: declared, they are arguments like others', async () => {
  const made = await build('FROM a\nARG HTTP_PROXY\nRUN x\n', { buildArgs: { HTTP_PROXY: 'p' } });
  assert.ok(!runs(made)[0]?.volatileEnv.includes('HTTP_PROXY'));
  assert.equal(createdBy(made).at(-1), 'RUN |1 HTTP_PROXY=p /bin/sh -c x # buildkit');
});

test('1.2 Platform args: known to FROM, to a stage that asks, and overridden', async () => {
  const names =
    'TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT';
  const text = `FROM --platform=$BUILDPLATFORM a AS one\nARG ${names}\nARG TARGETSTAGE\nRUN x\n`;
  const arm = { platform: { os: 'linux', architecture: 'arm', variant: 'v7' } };
  const made = await build(text, arm);
  assert.deepEqual(
    [...names.split(' '), 'TARGETSTAGE'].map((name) => variable(made, name)),
    ['linux/arm/v7', 'linux', 'arm', 'v7', 'linux/amd64', 'linux', 'amd64', '', 'one'],
  );
  assert.equal(variable(await build('FROM a\nRUN x\n', arm), 'TARGETARCH'), undefined);
  assert.equal(variable(await build(text, { buildArgs: { TARGETARCH: 'mine' } }), 'TARGETARCH'), 'mine');
});

test('1.2 Platform args: TARGETSTAGE is the target, the last stage, or default', async () => {
  const text = 'FROM a AS one\nARG TARGETSTAGE\nRUN x\nFROM one AS two\nRUN y\n';
  assert.equal(variable(await build(text, { target: 'one' }), 'TARGETSTAGE'), 'one');
  assert.equal(variable(await build(text), 'TARGETSTAGE'), 'two');
  assert.equal(variable(await build('FROM a\nARG TARGETSTAGE\nRUN x\n'), 'TARGETSTAGE'), 'default');
});

test('1.2 BUILDKIT_* args: they are for the builder, and nobody need declare them', async () => {
  const buildArgs = {
    BUILDKIT_INLINE_CACHE: '1',
    BUILDKIT_CACHE_MOUNT_NS: 'ns',
    BUILDKIT_DOCKERFILE_CHECK: 'skip=all',
    SOURCE_DATE_EPOCH: '7',
  };
  const made = await build('FROM a\nRUN --mount=type=cache,target=/c x\nCMD x\n', { buildArgs });
  assert.deepEqual(made.unusedArgs, []);
  assert.deepEqual(made.warnings, []);
  assert.equal(made.sourceDateEpoch, 7);
  const mount = runs(made)[0]?.mounts[0];
  assert.ok(mount?.kind === 'cache' && mount.id === 'ns//c');
});

test('1.2 BUILDKIT_* args: a date that is none is refused', async () => {
  await refused('FROM a\n', 'USAGE', /SOURCE_DATE_EPOCH "x"/, undefined, {
    buildArgs: { SOURCE_DATE_EPOCH: 'x' },
  });
  await refused('ARG SOURCE_DATE_EPOCH=x\nFROM a\n', 'INSTRUCTION_INVALID', /SOURCE_DATE_EPOCH "x"/, 1);
  assert.equal((await build('ARG SOURCE_DATE_EPOCH=5\nFROM a\n')).sourceDateEpoch, 5);
});

test('variables cannot make a text grow without bound', async () => {
  const bomb = `FROM a\nENV A=xxxxxxxxxxxxxxxx\n${'ENV A=$A$A\n'.repeat(40)}`;
  await refused(bomb, 'EXPANSION_FAILED', /longer by more than/, 19);
  const long = 'x'.repeat(60_000);
  await refused(`FROM a\nENV A=${long}\nENV B=\${A//x/$A}\n`, 'EXPANSION_FAILED', /longer by more than/, 3);
});

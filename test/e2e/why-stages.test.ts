/** Steps that take files from stages: what is said of them before and while they are built, and that it is true. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCommands, type Commands } from './commands.ts';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
let commands: Commands;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  space[Symbol.dispose]();
});

const put = (directory: string, name: string, text: string): void =>
  writeFileSync(join(directory, name), text);

async function build(directory: string, ...flags: readonly string[]): Promise<string> {
  return (await commands.ok(['--progress', 'plain', ...flags, directory], space.directory)).stderr;
}

/** State and causes of the step with `part` in its name, as text. */
async function why(directory: string, part: string, ...flags: readonly string[]): Promise<string> {
  const { stdout } = await commands.ok(['why', '--progress', 'quiet', ...flags, directory], space.directory);
  const lines = stdout.split('\n');
  const first = lines.findIndex((line) => /^\d/.test(line) && line.includes(part));
  const rest = lines.slice(first + 1).findIndex((line) => /^\d/.test(line));
  const about = lines.slice(first + 1, rest < 0 ? undefined : first + 1 + rest);
  const [, state = ''] = /^\d+ +(\S+)/.exec(lines[first] ?? '') ?? [];
  const causes = about.map((line) => line.trim()).filter((line) => !/^compared|^executed|^$/.test(line));
  return [state, ...causes].join(' | ');
}

/** What is said of a step while it is built; undefined: nothing was executed for it. */
function said(stderr: string, part: string): string | undefined {
  const [, number] =
    new RegExp(`^#(\\d+) .*${part.replace(/[$^*+?.()[\]{}|\\]/g, '\\$&')}`, 'm').exec(stderr) ?? [];
  assert.ok(number !== undefined, `${part} in ${stderr}`);
  return new RegExp(`^#${number} executing: (.*)$`, 'm').exec(stderr)?.[1];
}

async function fileIn(directory: string, path: string, ...flags: readonly string[]): Promise<string> {
  const tar = join(space.directory, 'out.tar');
  await build(directory, '-o', `type=tar,dest=${tar}`, ...flags);
  return execFileSync('tar', ['-xOf', tar, path], { encoding: 'utf8' });
}

test('a RUN whose cache begins with files of a stage is executed again where these are others', async () => {
  const mount = (source: string): string =>
    `FROM bb:1 AS st\nCOPY d /d\nCOPY e /e\nFROM bb:1\nRUN --mount=type=cache,target=/m,from=st,source=${source} cat /m/f > /out\n`;
  const directory = space.context('seeded', { Dockerfile: mount('/d'), 'd/f': '1\n', 'e/f': '3\n' });
  assert.equal(await fileIn(directory, 'out'), '1\n');
  assert.equal(said(await build(directory), 'RUN --mount'), undefined);
  put(directory, 'd/f', '2\n');
  assert.match(await why(directory, 'RUN --mount'), /^DEPENDS/);
  assert.equal(await fileIn(directory, 'out'), '2\n');
  assert.equal(
    await why(directory, 'RUN --mount'),
    'CACHED | the files of the mount cache /m changed: | d/f changed',
  );
  put(directory, 'Dockerfile', mount('/e'));
  assert.equal(
    await why(directory, 'RUN --mount'),
    'EXECUTE | source of the mount cache /m changed from "/d" to "/e"',
  );
  assert.equal(await fileIn(directory, 'out'), '3\n');
});

test('a mount of a directory of a stage is that directory, whatever else the stage holds', async () => {
  const directory = space.context('mounted', {
    Dockerfile:
      'FROM bb:1 AS st\nCOPY d /d\nCOPY other /other\nFROM bb:1\nRUN --mount=from=st,source=/d,target=/m cat /m/f > /out\n',
    'd/f': '1\n',
    other: 'a\n',
  });
  await build(directory);
  put(directory, 'other', 'b\n');
  assert.equal(
    await why(directory, 'RUN --mount'),
    'DEPENDS | cached if this comes out as before: [st 3/3] COPY other /other',
  );
  assert.equal(said(await build(directory), 'RUN --mount'), undefined);
  put(directory, 'd/f', '2\n');
  assert.match(await why(directory, 'RUN --mount'), /^EXECUTE \| the files of the mount bind \/m changed/);
  assert.equal(
    said(await build(directory), 'RUN --mount'),
    'the files of the mount bind /m changed: d/f changed',
  );
  assert.equal(await fileIn(directory, 'out'), '2\n');
});

test('what a mount is not there for is said by the step that needs it, as ever', () => {
  const directory = space.context('mounted-nothing', {
    Dockerfile: 'FROM bb:1\nRUN --mount=from=bb:1,source=/nowhere,target=/m ls /m\n',
  });
  const { code, stderr } = space.tsbuild([directory]);
  assert.equal(code, 1);
  assert.match(stderr, /Dockerfile:2:1[\s\S]*\/nowhere/);
});

test('files that are there are not said to be gone where a stage is as it once was', async () => {
  const text = (mode: string): string =>
    `FROM bb:1 AS st\nCOPY --chmod=${mode} a /\nRUN true\nFROM bb:1\nCOPY b /b\nRUN --mount=from=st,target=/m ls /m\n`;
  const directory = space.context('once', { Dockerfile: text('600'), a: '1\n', b: '1\n' });
  await build(directory);
  for (const name of ['a', 'b']) put(directory, name, '2\n');
  put(directory, 'Dockerfile', text('644'));
  await build(directory);
  put(directory, 'Dockerfile', text('600'));
  const follows = 'it follows [st 2/3] COPY --chmod=600 a /, which has other files';
  assert.equal(
    await why(directory, 'RUN --mount'),
    `EXECUTE | the files of the mount bind /m changed: | ${follows}`,
  );
  assert.equal(
    said(await build(directory), 'RUN --mount'),
    `the files of the mount bind /m changed: ${follows}`,
  );
});

test('another FROM is the cause, and not the steps of the stage that it leads to', async () => {
  const text = (from: string): string =>
    `FROM bb:1 AS s1\nRUN echo > /one\nFROM bb:1 AS s2\nRUN echo > /two\nFROM ${from}\nRUN ls /\n`;
  const directory = space.context('elsewhere', { Dockerfile: text('s1') });
  await build(directory);
  for (const target of ['s2', undefined]) {
    if (target !== undefined) await build(directory, '--target', target);
    put(directory, 'Dockerfile', text('s2'));
    const cause = String.raw`FROM changed from "stage \"s1\"" to "stage \"s2\""`;
    assert.equal(await why(directory, 'RUN ls'), `EXECUTE | ${cause}`);
    if (target === undefined) assert.equal(said(await build(directory), 'RUN ls'), cause);
    else put(directory, 'Dockerfile', text('s1'));
  }
  put(directory, 'Dockerfile', text('bb:1'));
  assert.match(
    await why(directory, 'RUN ls'),
    /^EXECUTE \| FROM changed from "stage .*" to "image .*\/bb:1"$/,
  );
});

test('a COPY from another stage says so, whether that was ever built or not', async () => {
  const directory = space.context('other-stage', {
    Dockerfile:
      'ARG A=1\nFROM bb:1 AS s1\nRUN echo 1 >/f\nFROM bb:1 AS s2\nRUN echo 2 >/f\nFROM s$A AS q\nFROM bb:1\nCOPY --from=q /f /f\n',
  });
  await build(directory);
  const cause = String.raw`--from changed from "stage \"s1\"" to "stage \"s2\""`;
  assert.equal(await why(directory, '--from=q', '--build-arg', 'A=2'), `EXECUTE | ${cause}`);
  assert.equal(said(await build(directory, '--build-arg', 'A=2'), '--from=q'), cause);
});

test('a build that stops at --assert-cached leaves the names of changed files to the next', async () => {
  const directory = space.context('asserted', {
    Dockerfile: 'FROM bb:1 AS st\nCOPY f /f\nFROM bb:1 AS fin\nCOPY --from=st /f /o\n',
    f: '1\n',
  });
  await build(directory);
  put(directory, 'f', '2\n');
  const { code, stderr } = space.tsbuild(['--assert-cached=fin', directory]);
  assert.equal(code, 3);
  assert.match(stderr, /is not cached: f changed/);
  assert.equal(await why(directory, '--from=st'), 'EXECUTE | f changed');
  assert.equal(said(await build(directory), '--from=st'), 'f changed');
});

test('what other files are put over is not said to decide what follows; what lies on top is', async () => {
  const directory = space.context('over', {
    Dockerfile: 'FROM bb:1\nCOPY a c /s/\nRUN cat /s/f\n',
    'a/f': '1\n',
    'c/f': '2\n',
    'a/g': 'g\n',
  });
  await build(directory);
  put(directory, 'a/f', '9\n');
  assert.match(await why(directory, 'RUN cat'), /^DEPENDS/);
  assert.equal(said(await build(directory), 'RUN cat'), undefined);
  renameSync(join(directory, 'a/g'), join(directory, 'c/g'));
  assert.match(await why(directory, 'RUN cat'), /^DEPENDS/);
  assert.equal(said(await build(directory), 'RUN cat'), undefined);
  put(directory, 'c/f', '9\n');
  assert.match(await why(directory, 'RUN cat'), /^EXECUTE/);
  assert.ok(said(await build(directory), 'RUN cat')?.startsWith('it follows [2/3] COPY a c /s/'));
});

test('a mode is the same with a zero before it', async () => {
  const directory = space.context('zero', { Dockerfile: 'FROM bb:1\nCOPY --chmod=644 f /f\n', f: '1\n' });
  await build(directory);
  put(directory, 'Dockerfile', 'FROM bb:1\nCOPY --chmod=0644 f /f\n');
  assert.match(await why(directory, 'COPY'), /^CACHED/);
});

test('a step that was removed, moved or written twice is not said to have other files', async () => {
  const lines = ['RUN echo 1 >/1', 'RUN echo 2 >/2', 'RUN echo 3 >/3'];
  const of = (...numbers: readonly number[]): string =>
    ['FROM bb:1', ...numbers.map((number) => lines[number - 1]), ''].join('\n');
  const directory = space.context('order', { Dockerfile: of(1, 2, 3) });
  for (const [now, step, expected] of [
    [[1, 3], 'RUN echo 3', 'it follows [2/3] RUN echo 1 >/1 instead of RUN echo 2 >/2'],
    [[2, 1, 3], 'RUN echo 2', 'it follows FROM docker.io/library/bb:1 instead of RUN echo 1 >/1'],
    [[2, 1, 3], '/4] RUN echo 1', 'it follows [2/4] RUN echo 2 >/2, which has other files'],
    [[1, 2, 2, 3], '4/5] RUN echo 2', 'it follows [3/5] RUN echo 2 >/2 instead of RUN echo 1 >/1'],
  ] as const) {
    space.ok(['prune', '-af']);
    put(directory, 'Dockerfile', of(1, 2, 3));
    await build(directory, '--no-cache');
    await build(directory);
    put(directory, 'Dockerfile', of(...now));
    assert.equal(await why(directory, step), `EXECUTE | ${expected}`);
    assert.equal(said(await build(directory), step), expected);
  }
});

test('variables and settings that another base image brings are said to be its own', async () => {
  const base = space.context('base-of-env', { Dockerfile: '' });
  const Dockerfile = 'FROM base:1\nENV MINE=x\nRUN echo a\nWORKDIR /w\nRUN echo b\n';
  const directory = space.context('on-base', { Dockerfile });
  const rebuilt = async (text: string): Promise<string> => {
    put(base, 'Dockerfile', `FROM bb:1\n${text}`);
    return (await commands.ok(['-q', '-t', 'base:1', base], space.directory)).stdout;
  };
  await rebuilt('ENV NODE=20.1 GONE=1\n');
  await build(directory);
  const cause =
    /^EXECUTE \| the base image docker\.io\/library\/base:1 changed from sha256:\w+ to sha256:\w+/;
  for (const [text, alone] of [
    ['ENV NODE=20.2 MORE=2\nUSER 3\nSHELL ["/bin/sh", "-ec"]\n', true],
    ['ENV NODE=20.3\nRUN echo new >/new\n', false],
  ] as const) {
    await rebuilt(text);
    for (const step of ['RUN echo a', 'RUN echo b']) {
      const told = await why(directory, step);
      assert.match(told, cause);
      assert.doesNotMatch(told, /NODE|USER|SHELL|GONE|MORE/);
      const isFirst = step === 'RUN echo a';
      assert.equal(told.split(' | ').length, alone || isFirst ? 2 : 3, told);
    }
    assert.match(said(await build(directory), 'RUN echo a') ?? '', /^the base image .* changed/);
  }
  // What the Dockerfile sets is its own.
  put(directory, 'Dockerfile', Dockerfile.replace('MINE=x', 'MINE=y NODE=1'));
  assert.equal(
    await why(directory, 'RUN echo a'),
    'EXECUTE | ENV NODE changed from "20.3" to "1" | ENV MINE changed from "x" to "y"',
  );
});

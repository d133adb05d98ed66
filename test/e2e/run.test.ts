import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, eventually, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  const context = space.context('img', {
    Dockerfile:
      'FROM bb:1\nENV A=image B=image\nWORKDIR /work\nUSER bob\nENTRYPOINT ["/bin/echo"]\nCMD ["from", "cmd"]\n',
  });
  space.ok(['-q', '-t', 'img', context]);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

const sh = (script: string, ...flags: readonly string[]): readonly string[] => [
  'run',
  '--rm',
  ...flags,
  '--entrypoint',
  '/bin/sh',
  'img',
  '-c',
  script,
];

test('entry point and command come from the image, or from the command line', () => {
  assert.equal(space.ok(['run', 'img']).stdout, 'from cmd\n');
  assert.equal(space.ok(['run', 'img', 'mine']).stdout, 'mine\n');
  assert.equal(space.ok(['run', '--entrypoint', 'id', 'img', '-u']).stdout, '1000\n');
});

test("environment, working directory and user are the image's unless given", () => {
  assert.equal(
    space.ok(sh('echo $A $B $C $HOME; pwd; id', '-e', 'B=flag', '-e', 'C', '--env-file', envFile()), {
      env: { C: 'outer' },
    }).stdout,
    'image flag outer /home/bob\n/work\nuid=1000(bob) gid=2000(bobs) groups=2000(bobs),3000(extra)\n',
  );
  assert.equal(space.ok(sh('pwd; id -u; id -g', '-w', '/tmp', '-u', '7:8')).stdout, '/tmp\n7\n8\n');
});

function envFile(): string {
  const path = join(space.directory, 'env');
  writeFileSync(path, '# comment\nD=file\n');
  return path;
}

for (const [script, code] of [
  ['exit 3', 3],
  ['kill -TERM $$; sleep 0.5; exit 9', 9],
] as const)
  test(`the exit code of "${script}" is the container's`, () => {
    assert.equal(space.tsbuild(sh(script)).code, code);
  });

test('125, 126 and 127 mean what docker means by them', () => {
  assert.equal(space.tsbuild(['run', 'bb:1', 'nowhere']).code, 127);
  assert.equal(space.tsbuild(['run', 'bb:1', '/etc']).code, 126);
  assert.equal(
    space.tsbuild(['run', '--mount', 'type=bind,source=/nowhere,target=/x', 'bb:1', 'true']).code,
    125,
  );
  assert.equal(space.tsbuild(['run', '-u', 'nobody7', 'bb:1', 'true']).code, 125);
  assert.equal(space.tsbuild(['run', '--pull', 'never', 'not-here', 'true']).code, 125);
});

test("volumes show the host's files, read-only where asked", () => {
  const directory = join(space.directory, 'vol');
  mkdirSync(directory);
  writeFileSync(join(directory, 'f'), 'host\n');
  assert.equal(space.ok(['run', '-v', `${directory}:/v:ro`, 'bb:1', 'cat', '/v/f']).stdout, 'host\n');
  assert.notEqual(space.tsbuild(['run', '-v', `${directory}:/v:ro`, 'bb:1', 'touch', '/v/g']).code, 0);
  space.ok(['run', '-v', `${directory}:/v`, 'bb:1', 'sh', '-c', 'echo written > /v/g']);
  assert.equal(readFileSync(join(directory, 'g'), 'utf8'), 'written\n');
});

test('what a container writes is gone with it', () => {
  space.ok(['run', 'bb:1', 'touch', '/left']);
  assert.notEqual(space.tsbuild(['run', 'bb:1', 'ls', '/left']).code, 0);
});

test("network none has only the loopback, host has the host's", () => {
  assert.match(
    space.ok(['run', '--network', 'none', 'bb:1', 'ip', '-o', 'link']).stdout,
    /^1: lo: <LOOPBACK,UP[^\n]*\n$/,
  );
  const mine = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' });
  assert.equal(space.ok(['run', '--network', 'host', 'bb:1', 'readlink', '/proc/self/ns/net']).stdout, mine);
});

test('standard input reaches the program with -i alone', () => {
  assert.equal(space.tsbuild(['run', '-i', 'bb:1', 'cat'], { input: 'typed' }).stdout, 'typed');
  assert.equal(space.tsbuild(['run', 'bb:1', 'cat'], { input: 'typed' }).stdout, '');
});

test('SIGTERM reaches the program, and its exit code comes back', async () => {
  const child = space.start([
    'run',
    'bb:1',
    'sh',
    '-c',
    'trap "exit 41" TERM; echo up; while :; do sleep 0.1; done',
  ]);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.kill('SIGTERM');
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 41);
});

test('kill -9 of tsbuild does not touch the container, and --rm holds all the same', async () => {
  const child = space.start(['run', '--rm', '--name', 'orphan', 'bb:1', 'sh', '-c', 'echo up; sleep 1000']);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  assert.match(space.ok(['ps']).stdout, /orphan/);
  space.ok(['kill', 'orphan']);
  // The monitor removes mounts first and its record last.
  await eventually(() => {
    assert.deepEqual(leftovers(space.root), []);
    assert.doesNotMatch(space.ok(['ps', '-a']).stdout, /orphan/);
  });
});

test('the bridge of a state root that is gone is taken away by a check of any other one', () => {
  using other = openWorkspace();
  importBusybox(other);
  other.ok(['run', '--rm', 'bb:1', 'true']);
  const bridges = (): readonly string[] =>
    execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`bridge of ${other.root}`));
  assert.equal(bridges().length, 1);
  rmSync(other.root, { recursive: true });
  using fresh = openWorkspace();
  fresh.ok(['system', 'check']);
  assert.equal(bridges().length, 0);
});

test('-t gives the program a terminal', () => {
  const command = `${process.execPath} ${CLI} run -it bb:1 sh -c 'test -t 0 && test -t 1 && tty'`;
  const output = execFileSync('script', ['-qec', command, '/dev/null'], {
    encoding: 'utf8',
    env: { ...process.env, TSBUILD_ROOT: space.root },
    input: '',
  });
  assert.match(output, /\/dev\/pts\/0\r\n/);
});

test('a read-only root refuses writes, tmpfs takes them', () => {
  assert.notEqual(space.tsbuild(['run', '--read-only', 'bb:1', 'touch', '/x']).code, 0);
  space.ok(['run', '--read-only', '--tmpfs', '/t', 'bb:1', 'touch', '/t/x']);
});

test("capabilities are docker's, more or fewer where asked", () => {
  const effective = (...flags: readonly string[]): string =>
    /CapEff:\s*(\w+)/.exec(space.ok(['run', ...flags, 'bb:1', 'cat', '/proc/self/status']).stdout)?.[1] ?? '';
  assert.equal(effective(), '00000000a80425fb');
  assert.equal(effective('--cap-drop', 'ALL', '--cap-add', 'CHOWN'), '0000000000000001');
});

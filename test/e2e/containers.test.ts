/** The life of containers, as users see it: every command, docker's words and exit codes. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { CLI, eventually, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  const context = space.context('img', {
    Dockerfile:
      'FROM bb:1\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK --interval=100ms --retries=1 CMD test -e /well\nCMD ["sh", "-c", "trap \\"exit 33\\" USR1; echo up; while :; do sleep 0.05; done"]\n',
  });
  space.ok(['-q', '-t', 'img', context]);
});
afterEach(() => {
  const left = space.ok(['ps', '-aq']).stdout.trim();
  if (left !== '') space.ok(['rm', '-f', ...left.split('\n')]);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  assert.deepEqual(readdirSync(join(space.root, 'containers/names')), []);
  space[Symbol.dispose]();
});

const UP = 'trap "exit 41" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.05; done';

function run(...args: readonly string[]): string {
  return space.ok(['run', '-d', '--network', 'none', ...args]).stdout.trim();
}

/** As `run`, and back when the program has said `up`: to signals before that it is deaf. */
async function runUp(...args: readonly string[]): Promise<string> {
  const id = run(...args);
  const log = join(space.root, 'containers', id, 'log');
  await eventually(() => assert.match(readFileSync(log, 'utf8'), / up$/m));
  return id;
}

function status(name: string): string {
  return space.ok(['ps', '-a', '--filter', `name=^${name}$`, '--format', '{{.Status}}']).stdout.trim();
}

test('run -d prints the id, and the container is there until it is removed', async () => {
  const id = await runUp('--name', 'one', 'bb:1', 'sh', '-c', UP);
  assert.match(id, /^[0-9a-f]{64}$/);
  assert.match(status('one'), /^Up /);
  assert.equal(space.tsbuild(['rm', 'one']).code, 1);
  assert.equal(space.ok(['stop', 'one']).stdout, 'one\n');
  assert.match(status('one'), /^Exited \(41\) /);
  assert.equal(space.ok(['rm', id.slice(0, 12)]).stdout, `${id.slice(0, 12)}\n`);
  assert.equal(existsSync(join(space.root, 'containers', id)), false);
});

test('create, start -a, and start again with what was written', () => {
  const id = space
    .ok(['create', '--name', 'two', 'bb:1', 'sh', '-c', 'cat /f; echo x >> /f; exit 3'])
    .stdout.trim();
  assert.equal(status('two'), 'Created');
  const first = space.tsbuild(['start', '-a', 'two']);
  assert.deepEqual([first.code, first.stdout], [3, '']);
  const second = space.tsbuild(['start', '-a', id]);
  assert.deepEqual([second.code, second.stdout], [3, 'x\n']);
  assert.equal(space.ok(['start', 'two']).stdout, 'two\n');
  assert.equal(space.ok(['wait', 'two']).stdout, '3\n');
});

test('a name is taken once, and errors name what is missing', () => {
  run('--name', 'three', 'bb:1', 'true');
  const again = space.tsbuild(['run', '--name', 'three', 'bb:1', 'true']);
  assert.equal(again.code, 125);
  assert.match(
    again.stderr,
    /the container name "three" is already in use by container [0-9a-f]{12} \[CONTAINER_NAME_IN_USE\]/,
  );
  for (const command of [
    'start',
    'stop',
    'kill',
    'rm',
    'wait',
    'logs',
    'attach',
    'pause',
    'unpause',
    'restart',
  ]) {
    const ended = space.tsbuild([command, 'nobody']);
    assert.equal(ended.code, 1, command);
    assert.match(ended.stderr, /no such container: "nobody"/, command);
  }
  assert.equal(space.tsbuild(['exec', 'nobody', 'true']).code, 1);
  assert.equal(space.tsbuild(['rm', '-f', 'nobody']).code, 0);
});

test('--rm leaves nothing, in the foreground and in the background', async () => {
  space.ok(['run', '--rm', '--name', 'gone', 'bb:1', 'touch', '/f']);
  run('--rm', '--name', 'gone', 'bb:1', 'sleep', '0.2');
  await eventually(() => assert.equal(status('gone'), ''));
  assert.equal(space.tsbuild(['run', '--rm', '--name', 'gone', 'bb:1', 'nowhere']).code, 127);
  assert.equal(status('gone'), '');
});

test('stop waits for the program, kills it after its time, and takes the signal of the image', async () => {
  await runUp('--name', 'deaf', 'bb:1', 'sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done');
  space.ok(['stop', '-t', '1', 'deaf']);
  assert.match(status('deaf'), /^Exited \(137\) /);
  await runUp('--name', 'usr', 'img');
  space.ok(['stop', 'usr']);
  assert.match(status('usr'), /^Exited \(33\) /);
  run('--name', 'own', '--stop-signal', 'KILL', '--stop-timeout', '100', 'img');
  space.ok(['stop', 'own']);
  assert.match(status('own'), /^Exited \(137\) /);
});

test('kill sends what it is told, SIGKILL by default', async () => {
  await runUp('--name', 'sig', 'bb:1', 'sh', '-c', UP);
  assert.equal(space.ok(['kill', '-s', 'USR1', 'sig']).stdout, 'sig\n');
  await eventually(() => assert.match(space.ok(['logs', 'sig']).stdout, /usr1/));
  space.ok(['kill', 'sig']);
  assert.match(status('sig'), /^Exited \(137\) /);
  const again = space.tsbuild(['kill', 'sig']);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is not running/);
});

test('several are done one after the other, and a failure does not stop the rest', () => {
  run('--name', 'aa', 'bb:1', 'sleep', '100');
  run('--name', 'bb', 'bb:1', 'sleep', '100');
  const ended = space.tsbuild(['rm', '-f', 'aa', 'bb']);
  assert.deepEqual([ended.code, ended.stdout], [0, 'aa\nbb\n']);
  run('--name', 'cc', 'bb:1', 'sleep', '100');
  const some = space.tsbuild(['stop', '-t', '0', 'nobody', 'cc']);
  assert.deepEqual([some.code, some.stdout], [1, 'cc\n']);
});

test('wait prints the exit code when it ends', async () => {
  run('--name', 'wt', 'bb:1', 'sh', '-c', 'sleep 0.5; exit 12');
  assert.equal(space.ok(['wait', 'wt']).stdout, '12\n');
  assert.equal(space.ok(['wait', 'wt']).stdout, '12\n');
});

test('logs keep streams apart, show the tail, times, and follow to the end', async () => {
  run(
    '--name',
    'lg',
    'bb:1',
    'sh',
    '-c',
    'echo one; echo two >&2; for i in 3 4 5; do echo $i; done; printf end',
  );
  await eventually(() => assert.match(status('lg'), /^Exited/));
  const all = space.ok(['logs', 'lg']);
  assert.deepEqual([all.stdout, all.stderr], ['one\n3\n4\n5\nend', 'two\n']);
  assert.equal(space.ok(['logs', '-n', '1', 'lg']).stdout, 'end');
  assert.equal(space.ok(['logs', '--tail', '0', 'lg']).stdout, '');
  assert.match(space.ok(['logs', '-t', '-n', '1', 'lg']).stdout, /^20\d\d-\d\d-\d\dT[\d:.]{18}Z end$/);
  assert.equal(space.ok(['logs', '--since', '1h', 'lg']).stdout, all.stdout);
  assert.equal(space.ok(['logs', '--until', '1h', 'lg']).stdout, '');
  assert.equal(
    space.ok(['logs', '--since', '2001-01-01', '--until', '2001-01-02T00:00:00Z', 'lg']).stdout,
    '',
  );
  run('--name', 'tl', 'bb:1', 'sh', '-c', 'for i in 3 4 5; do echo $i; done; printf end');
  await eventually(() => assert.match(status('tl'), /^Exited/));
  assert.equal(space.ok(['logs', '-n', '2', 'tl']).stdout, '5\nend');
  run('--name', 'fl', 'bb:1', 'sh', '-c', 'for i in 1 2 3 4; do echo $i; sleep 0.2; done');
  assert.equal(space.ok(['logs', '-f', 'fl']).stdout, '1\n2\n3\n4\n');
});

test('exec runs as it is told in what the container has', async () => {
  run(
    '--name',
    'ex',
    '-w',
    '/tmp',
    '-e',
    'A=1',
    'bb:1',
    'sh',
    '-c',
    `echo tim:x:77:77::/:/bin/sh >> /etc/passwd; ${UP}`,
  );
  await eventually(() => assert.match(space.ok(['logs', 'ex']).stdout, /up/));
  assert.equal(space.ok(['exec', 'ex', 'sh', '-c', 'echo $A; pwd; id -u']).stdout, '1\n/tmp\n0\n');
  assert.equal(
    space.ok(['exec', '-e', 'A=2', '-w', '/', '-u', 'tim', 'ex', 'sh', '-c', 'echo $A; pwd; id -u']).stdout,
    '2\n/\n77\n',
  );
  assert.equal(space.tsbuild(['exec', 'ex', 'sh', '-c', 'exit 9']).code, 9);
  assert.equal(space.tsbuild(['exec', 'ex', 'nowhere']).code, 127);
  assert.equal(space.tsbuild(['exec', 'ex', '/etc']).code, 126);
  assert.equal(space.tsbuild(['exec', '-i', 'ex', 'cat'], { input: 'typed' }).stdout, 'typed');
  assert.equal(space.tsbuild(['exec', 'ex', 'cat'], { input: 'typed' }).stdout, '');
  const effective = (...flags: readonly string[]): string =>
    space.ok(['exec', ...flags, 'ex', 'grep', 'CapEff', '/proc/self/status']).stdout;
  assert.match(effective(), /00000000a80425fb/);
  assert.doesNotMatch(effective('--privileged'), /00000000a80425fb/);
  space.ok(['exec', '-d', 'ex', 'sh', '-c', 'sleep 0.2; touch /done']);
  await eventually(() => space.ok(['exec', 'ex', 'test', '-e', '/done']));
  space.ok(['stop', 'ex']);
  assert.match(space.tsbuild(['exec', 'ex', 'true']).stderr, /is not running/);
});

test('pause freezes, unpause lets go on, and stop ends what is paused', async () => {
  await runUp('--name', 'pz', 'bb:1', 'sh', '-c', UP);
  space.ok(['pause', 'pz']);
  assert.match(status('pz'), /\(Paused\)/);
  assert.equal(space.tsbuild(['pause', 'pz']).code, 1);
  assert.match(space.tsbuild(['exec', 'pz', 'true']).stderr, /is paused/);
  space.ok(['unpause', 'pz']);
  assert.equal(space.tsbuild(['unpause', 'pz']).code, 1);
  space.ok(['exec', 'pz', 'true']);
  space.ok(['pause', 'pz']);
  space.ok(['stop', 'pz']);
  assert.match(status('pz'), /^Exited \(41\)/);
});

test('rename frees the old name at once', () => {
  run('--name', 'old', 'bb:1', 'sleep', '100');
  space.ok(['rename', 'old', 'new']);
  assert.equal(status('old'), '');
  assert.match(status('new'), /^Up/);
  run('--name', 'old', 'bb:1', 'true');
  assert.equal(space.tsbuild(['rename', 'new', 'old']).code, 1);
});

test('restart starts it anew, running or not', async () => {
  await runUp('--name', 'rs', 'bb:1', 'sh', '-c', `echo again; ${UP}`);
  space.ok(['restart', '-t', '5', 'rs']);
  space.ok(['stop', '-t', '1', 'rs']);
  space.ok(['restart', 'rs']);
  await eventually(() => assert.equal(space.ok(['logs', 'rs']).stdout.match(/again/g)?.length, 3));
});

test('a restart policy starts it again, and stop ends that', async () => {
  run('--name', 'al', '--restart', 'always', 'bb:1', 'sh', '-c', 'echo run; exit 2');
  await eventually(() => assert.ok((space.ok(['logs', 'al']).stdout.match(/run/g)?.length ?? 0) >= 3));
  assert.match(status('al'), /^(Restarting \(2\)|Up )/);
  space.ok(['stop', 'al']);
  assert.match(status('al'), /^Exited \(2\)/);
  run('--name', 'of', '--restart', 'on-failure:1', 'bb:1', 'sh', '-c', 'echo run; exit 2');
  await eventually(() => assert.match(status('of'), /^Exited \(2\)/));
  assert.equal(space.ok(['logs', 'of']).stdout, 'run\nrun\n');
  assert.equal(space.tsbuild(['run', '--rm', '--restart', 'always', 'bb:1', 'true']).code, 125);
});

test('start --all --filter restart-policy=always starts those that always run, as at the next boot', () => {
  for (const [name, policy] of [
    ['boot-a', 'always'],
    ['boot-b', 'always'],
    ['boot-c', 'no'],
  ] as const)
    space.ok(['create', '--network', 'none', '--name', name, '--restart', policy, 'bb:1', 'sleep', '100']);
  space.ok(['start', 'boot-b']);
  const { stdout } = space.ok(['start', '--all', '--filter', 'restart-policy=always']);
  assert.equal(stdout, 'boot-a\n');
  assert.match(status('boot-a'), /^Up /);
  assert.match(status('boot-c'), /^Created/);
  assert.equal(space.ok(['start', '--all']).stdout, 'boot-c\n');
  assert.equal(space.ok(['start', '--all']).stdout, '');
  for (const args of [['start'], ['start', '--all', 'boot-a'], ['start', '--filter', 'name=x', 'boot-a']])
    assert.equal(space.tsbuild(args).code, 2);
});

test("the image's health check is told by ps, and --no-healthcheck switches it off", async () => {
  run('--name', 'hl', 'img');
  await eventually(() => assert.match(status('hl'), /\(unhealthy\)/));
  space.ok(['exec', 'hl', 'touch', '/well']);
  await eventually(() => assert.match(status('hl'), /\(healthy\)/));
  run('--name', 'nh', '--no-healthcheck', 'img');
  assert.doesNotMatch(status('nh'), /health/);
  run('--name', 'hc', '--health-cmd', 'echo fine', '--health-interval', '100ms', 'bb:1', 'sleep', '100');
  await eventually(() => assert.match(status('hc'), /\(healthy\)/));
});

test('--init is pid 1 and hands signals on', async () => {
  const script = 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done';
  await runUp('--name', 'in', '--init', 'bb:1', 'sh', '-c', script);
  assert.match(space.ok(['exec', 'in', 'cat', '/proc/1/comm']).stdout, /tsbuild-init/);
  space.ok(['stop', 'in']);
  assert.match(status('in'), /^Exited \(5\)/);
});

test('attach shows what comes, and hands on signals and the exit code', async () => {
  run(
    '--name',
    'at',
    'bb:1',
    'sh',
    '-c',
    'trap "echo bye; exit 8" TERM; while :; do echo tick; sleep 0.05; done',
  );
  const child = space.start(['attach', 'at']);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.kill('SIGTERM');
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 8);
});

test('the detach keys leave a terminal and the container in it', async () => {
  const script = join(space.directory, 'keys.py');
  writeFileSync(
    script,
    `import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
while b'up' not in seen:
    seen += os.read(fd, 4096)
os.write(fd, b'a\\x10b')
time.sleep(0.3)
os.write(fd, b'\\x10')
time.sleep(0.1)
os.write(fd, b'\\x11')
try:
    while True:
        data = os.read(fd, 4096)
        if not data: break
        seen += data
except OSError:
    pass
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status))
`,
  );
  const output = execFileSync(
    'python3',
    [
      script,
      process.execPath,
      CLI,
      'run',
      '-it',
      '--name',
      'dt',
      'bb:1',
      'sh',
      '-c',
      'stty -echo; echo up; cat',
    ],
    { env: { ...process.env, TSBUILD_ROOT: space.root }, encoding: 'latin1' },
  );
  assert.match(output, /up\r\n/);
  assert.match(status('dt'), /^Up/);
  // The keys themselves did not arrive; what only began like them did.
  space.ok(['exec', 'dt', 'true']);
});

test('prune removes what does not run, and rmi refuses what a container is made of', () => {
  run('--name', 'keep', 'img');
  space.ok(['create', '--name', 'drop', 'bb:1', 'true']);
  assert.match(space.tsbuild(['rmi', 'img']).stderr, /container "keep" \([0-9a-f]{12}\) is made of it/);
  const pruned = space.ok(['container', 'prune', '-f']).stdout;
  assert.match(pruned, /^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: /);
  assert.match(status('keep'), /^Up/);
  space.ok(['builder', 'prune', '-a']);
  space.ok(['exec', 'keep', 'true']);
});

test('prune leaves what a run that lives has made and not started yet', async () => {
  const { stdout: made } = space.ok(['create', 'bb:1', 'true']);
  const file = join(space.root, 'containers', made.trim(), 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const runner = spawn('sleep', ['60']);
  const stat = readFileSync(`/proc/${runner.pid}/stat`, 'latin1');
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  writeFileSync(file, JSON.stringify({ ...config, creator: `${runner.pid}.${started}.1` }));
  assert.equal(space.ok(['container', 'prune', '-f']).stdout.includes(made.trim()), false);
  assert.equal(space.ok(['system', 'prune', '-f']).stdout.includes(made.trim()), false);
  runner.kill('SIGKILL');
  await once(runner, 'exit');
  space.ok(['container', 'prune', '-f']);
  assert.equal(existsSync(file), false);
});

test('kill -9 of a monitor ends its container; the next look puts it right', async () => {
  const id = run('--name', 'lost', 'bb:1', 'sh', '-c', UP);
  const state = JSON.parse(readFileSync(join(space.root, 'containers', id, 'state.json'), 'utf8')) as {
    readonly monitor: { readonly pid: number };
  };
  process.kill(state.monitor.pid, 'SIGKILL');
  await eventually(() => assert.match(status('lost'), /^Exited \(137\)/));
  assert.equal(existsSync(join(space.root, 'containers', id, 'held.json')), false);
  space.ok(['start', 'lost']);
  space.ok(['stop', '-t', '1', 'lost']);
  assert.match(space.ok(['system', 'check']).stdout, /no damage/);
});

test('--cidfile is written with the id, and must be new', () => {
  const file = join(space.directory, 'cid');
  space.ok(['create', '--cidfile', file, 'bb:1', 'true']);
  assert.match(readFileSync(file, 'utf8'), /^[0-9a-f]{64}$/);
  assert.equal(space.tsbuild(['create', '--cidfile', file, 'bb:1', 'true']).code, 125);
});

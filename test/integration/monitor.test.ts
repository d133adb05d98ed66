import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startTimeOf } from '../../src/base/owner.ts';
import { ALL, eventually, joinMonitor, NOTHING, openStand, type MonitorStand } from './monitor-fixture.ts';

let stand: MonitorStand;
before(() => (stand = openStand()));
after(() => stand.close());

const SIGTERM = 15;
const SIGUSR1 = 10;
const SIGKILL = 9;
const UP = 'trap "exit 41" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.05; done';

test('output, exit status and times of a container are delivered and written down', async () => {
  const one = stand.sh('echo out; echo err >&2; printf rest; exit 3');
  const pid = await one.started;
  assert.ok(pid > 0);
  assert.deepEqual(await one.finished, { exitCode: 3, oomKilled: false, final: true });
  await one.lost;
  assert.equal(one.stdout(), 'out\nrest');
  assert.equal(one.stderr(), 'err\n');
  const { startedAt = '', finishedAt = '', monitor, ...state } = one.state();
  // Its identity stays: for as long as it lives, somebody is cleaning up.
  assert.ok((monitor?.pid ?? 0) > 0);
  assert.deepEqual(state, { status: 'exited', exitCode: 3, oomKilled: false, error: '', restartCount: 0 });
  assert.match(startedAt, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  assert.ok(Math.abs(Date.now() - Date.parse(finishedAt)) < 60000 && finishedAt >= startedAt);
  const stamp = String.raw`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z`;
  const lines = one
    .log()
    .trimEnd()
    .split('\n')
    .sort((a, b) => (a.slice(31) < b.slice(31) ? -1 : 1));
  for (const [index, text] of ['stderr F err', 'stdout F out', 'stdout P rest'].entries())
    assert.match(lines[index] ?? '', new RegExp(`^${stamp} ${text}$`));
  assert.equal(existsSync(join(one.directory, 'ctl.sock')), false);
});

test('a running container is told by pid and start time, and so is its monitor', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const { process: first, monitor, status } = one.state();
  assert.equal(status, 'running');
  assert.equal(first?.start, startTimeOf(await one.started));
  assert.equal(monitor?.start, startTimeOf(monitor?.pid ?? 0));
  assert.match(readFileSync(`/proc/${monitor?.pid}/status`, 'latin1'), /^PPid:\t(?!0)/m);
  one.connection.stop(0, undefined);
  assert.equal((await one.finished).exitCode, 41);
});

test('the monitor has nothing of its caller: session, streams, directory, environment', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const { monitor } = one.state();
  const stat = readFileSync(`/proc/${monitor?.pid}/stat`, 'latin1');
  const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  assert.equal(Number(session), monitor?.pid);
  assert.equal(readFileSync(`/proc/${monitor?.pid}/environ`, 'latin1'), '');
  one.connection.stop(SIGKILL, 0);
  assert.equal((await one.finished).exitCode, 137);
});

test('a program that is not there is reported as an operation of the plan', async () => {
  const one = stand.monitored(['/nowhere']);
  const problem = await one.failed;
  assert.equal(problem.errno, 2);
  assert.equal((await one.finished).exitCode, 127);
  await one.lost;
  assert.equal(one.state().status, 'created');
  assert.equal((await stand.monitored(['/etc']).finished).exitCode, 126);
});

test('the container lives on when its client goes, and others find it', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  one.connection.close();
  const other = await joinMonitor(one.directory);
  assert.ok(other !== undefined);
  assert.equal(await other.connection.attach(ALL), 0);
  assert.equal(await other.connection.kill(SIGUSR1), 0);
  await other.saw('usr1');
  assert.equal(await other.connection.kill(99), 22);
  other.connection.stop(SIGTERM, 5);
  assert.equal((await other.finished).exitCode, 41);
  await other.lost;
  assert.equal(await joinMonitor(one.directory), undefined);
});

test('a stop that is not obeyed becomes SIGKILL after its time', async () => {
  const one = stand.sh('trap "" TERM; echo up; while :; do sleep 0.05; done');
  await one.saw('up');
  const before = Date.now();
  one.connection.stop(0, 1);
  assert.equal((await one.finished).exitCode, 137);
  assert.ok(Date.now() - before >= 990);
});

test('SIGTERM to the monitor ends the container in order', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  process.kill(one.state().monitor?.pid ?? 0, 'SIGTERM');
  assert.equal((await one.finished).exitCode, 41);
});

test('kill -9 of the monitor takes the container along', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const pid = await one.started;
  process.kill(one.state().monitor?.pid ?? 0, 'SIGKILL');
  await one.lost;
  await eventually(() => assert.equal(startTimeOf(pid), undefined));
  assert.equal(one.state().status, 'running');
});

test('input reaches the program as it takes it, and its end where the container is for one client', async () => {
  const big = Buffer.alloc(300_000, 'x');
  const one = stand.sh('sleep 0.3; wc -c', { settings: { stdin: 'once' } });
  await one.started;
  await one.connection.input(big);
  one.connection.endInput();
  await one.finished;
  assert.equal(one.stdout().trim(), '300000');
});

test('a container whose input stays open keeps it when a client goes', async () => {
  const one = stand.sh('echo up; read a; read b; echo $a $b', { settings: { stdin: 'open' } });
  await one.saw('up');
  await one.connection.input(Buffer.from('first\n'));
  one.connection.endInput();
  one.connection.close();
  const other = await joinMonitor(one.directory);
  await other?.connection.attach(ALL);
  await other?.connection.input(Buffer.from('second\n'));
  await other?.finished;
  assert.equal(other?.stdout(), 'first second\n');
});

test('input into a program that reads nothing does not hold the monitor up', async () => {
  const one = stand.sh(UP, { settings: { stdin: 'open' } });
  await one.saw('up');
  const input = one.connection.input(Buffer.alloc(400_000));
  input.catch(() => undefined);
  one.connection.stop(0, undefined);
  assert.equal((await one.finished).exitCode, 41);
});

test('a terminal has the size that it was given, and its output is one stream', async () => {
  const one = stand.sh('stty size; read a; echo got $a; stty size; echo err >&2', {
    input: { terminal: true },
    settings: { stdin: 'open' },
    size: { rows: 31, columns: 77 },
  });
  await one.saw('31 77');
  one.connection.resize(40, 90);
  await one.connection.input(Buffer.from('hello\n'));
  await one.finished;
  assert.match(one.stdout(), /got hello\r\n40 90\r\nerr\r\n$/);
  assert.equal(one.stderr(), '');
  assert.match(one.log(), / stdout F 40 90\r\n/);
});

test('a program that looked at its terminal at once saw no size', async () => {
  const size = { rows: 31, columns: 77 };
  for (let round = 0; round < 40; round += 1) {
    const one = stand.sh('stty size', { input: { terminal: true }, size });
    await one.finished;
    assert.equal(one.stdout(), '31 77\r\n');
  }
});

test('a client that does not read holds the output back, and nothing but the output', async () => {
  const one = stand.sh('echo up; yes 0123456789 | head -c 4000000; echo; echo end', { attachment: NOTHING });
  await one.started;
  const lazy = connect(join(one.directory, 'ctl.sock'));
  await new Promise((resolve) => lazy.once('connect', resolve));
  lazy.pause();
  const attach = Buffer.alloc(16);
  attach.writeUInt32LE(4, 0);
  attach.writeUInt32LE(32, 4);
  attach.writeUInt32LE(7, 12);
  lazy.write(attach);
  await eventually(() => assert.ok(statSync(join(one.directory, 'log')).size > 0));
  // It answers others meanwhile, or ends when the output was faster than the client.
  const other = await joinMonitor(one.directory);
  if (other !== undefined) await other.connection.kill(0).catch(() => 0);
  lazy.resume();
  assert.equal((await one.finished).exitCode, 0);
  assert.match(one.log() + readFileSync(join(one.directory, 'log.1'), 'utf8'), / stdout F end\n/);
});

test('the log is bounded and keeps the latest', async () => {
  const one = stand.sh('i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done', {
    settings: { logSize: 20_000, logFiles: 3 },
  });
  await one.finished;
  for (const name of ['log', 'log.1', 'log.2'])
    assert.ok(statSync(join(one.directory, name)).size <= 20_000, name);
  assert.equal(existsSync(join(one.directory, 'log.3')), false);
  assert.match(one.log(), /line 2999\n$/);
});

test('lines longer than 16 KiB are cut into parts that make the line again', async () => {
  const one = stand.sh('head -c 40000 /dev/zero | tr "\\0" a; echo; echo short');
  await one.finished;
  const entries = one
    .log()
    .trimEnd()
    .split('\n')
    .map((line) => /^\S+ stdout ([FP]) (.*)$/.exec(line));
  assert.deepEqual(
    entries.map((entry) => [entry?.[1], entry?.[2]?.length]),
    [
      ['P', 16384],
      ['P', 16384],
      ['F', 7232],
      ['F', 5],
    ],
  );
});

test('on-failure restarts as often as it says, always until it is stopped', async () => {
  const failing = stand.sh('echo try; exit 5', {
    settings: { restart: { policy: 'on-failure', maximumRetries: 2 } },
  });
  assert.deepEqual(await failing.ended, { exitCode: 5, oomKilled: false, final: false });
  assert.equal((await failing.finished).exitCode, 5);
  assert.equal(failing.stdout(), 'try\ntry\ntry\n');
  assert.equal(failing.state().restartCount, 2);

  const ending = stand.sh('echo try', { settings: { restart: { policy: 'always', maximumRetries: 0 } } });
  await ending.saw('try\ntry\n');
  ending.connection.stop(0, 0);
  await ending.finished;
  assert.equal(ending.state().status, 'exited');

  const fine = stand.sh('exit 0', { settings: { restart: { policy: 'on-failure', maximumRetries: 0 } } });
  assert.equal((await fine.ended).final, true);
});

test('between two starts it is restarting, and a new policy counts at once', async () => {
  const one = stand.sh('exit 1', { settings: { restart: { policy: 'always', maximumRetries: 0 } } });
  await eventually(() => assert.equal(one.state().status, 'restarting'));
  assert.equal(await one.connection.setPolicy({ policy: 'no', maximumRetries: 0 }), 0);
  assert.equal((await one.finished).exitCode, 1);
});

test('a kill that means the end is not followed by a restart', async () => {
  const one = stand.sh(UP, { settings: { restart: { policy: 'always', maximumRetries: 0 } } });
  await one.saw('up');
  assert.equal(await one.connection.kill(SIGKILL), 0);
  assert.deepEqual(await one.ended, { exitCode: 137, oomKilled: false, final: true });
});

test('one directory has one monitor', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const second = stand.sh(UP, { directory: one.directory });
  const problem = await second.failed;
  assert.deepEqual([problem.op, problem.errno], [0xffffffff, 11]);
  assert.equal(one.state().status, 'running');
  one.connection.stop(0, 0);
  await one.finished;
});

test('the exit command runs where no client cleans up, and not where one does', async () => {
  const mark = join(stand.box.directory, 'cleaned');
  const settings = { exitCommand: ['/bin/sh', '-c', `echo x >> ${mark}`] };
  const cleaning = stand.sh('exit 0', { settings, attachment: { ...ALL, cleans: true } });
  await cleaning.finished;
  cleaning.connection.cleaned();
  await cleaning.lost;
  assert.equal(existsSync(mark), false);

  const killed = stand.sh('exit 0', { settings, attachment: { ...ALL, cleans: true } });
  await killed.finished;
  killed.connection.close();
  await eventually(() => assert.equal(readFileSync(mark, 'utf8'), 'x\n'));

  const nobody = stand.sh('exit 0', { settings });
  await nobody.lost;
  await eventually(() => assert.equal(readFileSync(mark, 'utf8'), 'x\nx\n'));
});

test('init hands signals on, reaps orphans and ends as its program does', async () => {
  const one = stand.sh(
    'trap "exit 9" TERM; (sh -c "sleep 0.1; echo orphan over" &) ; echo pid $$; while :; do sleep 0.05; done',
    { init: true },
  );
  await one.saw('pid 2');
  const first = await one.started;
  assert.equal(readFileSync(`/proc/${first}/comm`, 'latin1'), 'tsbuild-init\n');
  assert.equal(readFileSync(`/proc/${first}/environ`, 'latin1'), '');
  await one.saw('orphan over');
  await eventually(() => {
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'latin1').trim().split(' ');
    assert.equal(children.length, 1);
  });
  assert.equal(await one.connection.kill(SIGTERM), 0);
  assert.equal((await one.finished).exitCode, 9);
  assert.equal((await stand.sh('kill -KILL $$', { init: true }).finished).exitCode, 137);
  assert.equal((await stand.monitored(['/nowhere'], { init: true }).finished).exitCode, 127);
});

test('under an init nothing of the monitor is open', async () => {
  const one = stand.sh('ls -l /proc/1/fd | wc -l; echo done; sleep 100', { init: true });
  await one.saw('done');
  assert.match(one.stdout(), /^4\n/);
  one.connection.stop(0, 0);
  await one.finished;
});

test('health goes from starting to healthy to unhealthy, and is told with its output', async () => {
  const flag = join(stand.box.root, 'tmp/well');
  writeFileSync(flag, '');
  const one = stand.sh(UP, {
    health: {
      args: ['sh', '-c', 'until test -e /tmp/go; do sleep 0.02; done; echo checked; test -e /tmp/well'],
      intervalMs: 100,
      timeoutMs: 60_000,
      startPeriodMs: 0,
      startIntervalMs: 100,
      retries: 2,
    },
  });
  await one.started;
  assert.equal(one.state().health?.status, 'starting');
  writeFileSync(join(stand.box.root, 'tmp/go'), '');
  await eventually(() => assert.equal(one.state().health?.status, 'healthy'));
  rmSync(flag);
  await eventually(() => assert.equal(one.state().health?.status, 'unhealthy'));
  const { failingStreak = 0, log = [] } = one.state().health ?? {};
  assert.ok(failingStreak >= 2 && log.length <= 5);
  assert.equal(log.at(-1)?.exitCode, 1);
  assert.equal(log.at(-1)?.output, 'checked\n');
  one.connection.stop(0, 0);
  await one.finished;
});

test('a health check that takes too long is killed and counts as failed', async () => {
  const one = stand.sh(UP, {
    health: {
      args: ['sleep', '100'],
      intervalMs: 50,
      timeoutMs: 200,
      startPeriodMs: 0,
      startIntervalMs: 50,
      retries: 1,
    },
  });
  await eventually(() => assert.equal(one.state().health?.status, 'unhealthy'));
  assert.match(one.state().health?.log.at(-1)?.output ?? '', /took longer than 200 ms/);
  one.connection.stop(0, 0);
  await one.finished;
});

test('nonsense on the socket ends that connection alone', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const frames = [
    Buffer.alloc(12, 0xff),
    Buffer.concat([Buffer.from([4, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(4)]),
    Buffer.from([3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
    Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    Buffer.from([1, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0, 0, 65]),
  ];
  for (const bytes of frames) {
    const socket = connect(join(one.directory, 'ctl.sock'));
    socket.write(bytes);
    await new Promise((resolve) => {
      socket.on('error', () => undefined);
      socket.once('close', resolve);
      socket.resume();
    });
  }
  const half = connect(join(one.directory, 'ctl.sock'));
  half.write(Buffer.from([8, 0, 0]));
  assert.equal(await one.connection.kill(SIGUSR1), 0);
  await one.saw('usr1');
  one.connection.stop(0, 0);
  await one.finished;
  half.destroy();
});

test('more clients than there is room for are sent away', async () => {
  const one = stand.sh(UP);
  await one.saw('up');
  const sockets = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const socket = connect(join(one.directory, 'ctl.sock'));
      socket.on('error', () => undefined);
      socket.resume();
      await new Promise((resolve) => socket.once('connect', resolve));
      return socket;
    }),
  );
  await eventually(() =>
    assert.equal(sockets.filter((socket) => socket.readableEnded || socket.destroyed).length, 9),
  );
  for (const socket of sockets) socket.destroy();
  await eventually(() => assert.equal(one.state().status, 'running'));
  assert.equal((statSync(join(one.directory, 'ctl.sock')).mode & 0o777).toString(8), '600');
  one.connection.stop(0, 0);
  assert.equal((await one.finished).exitCode, 137);
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isTsbuildError } from '../../src/base/errors.ts';
import { startProgram, type Program, type ProgramOptions } from '../../native/program.ts';
import { temporaryDirectory } from '../suites/layer-fixture.ts';

const SOCKET_IS_OUTPUT: ProgramOptions = { fds: ['null', 'socket', 2] };

function sh(script: string, options: ProgramOptions = SOCKET_IS_OUTPUT): Program {
  return startProgram('/bin/busybox', ['sh', '-c', script], options);
}

async function outputOf(program: Program): Promise<string> {
  const chunks: Buffer[] = [];
  program.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await program.ended;
  return Buffer.concat(chunks).toString();
}

/** How it ended; its output is read and thrown away. */
function endOf(program: Program): Promise<string | undefined> {
  program.socket.resume();
  return program.ended;
}

test('a program has the descriptors that it is given and no others', async () => {
  using temporary = temporaryDirectory();
  const given = openSync(temporary.path, 'r');
  const other = openSync('/etc/passwd', 'r');
  const text = await outputOf(
    sh('for f in 0 1 3 4 5 6 7; do readlink /proc/$$/fd/$f || echo none; done', {
      fds: ['null', 'socket', 2, given, 'null', given],
    }),
  );
  const path = realpathSync(temporary.path);
  assert.match(text, /^\/dev\/null\nsocket:\[\d+\]\n(.*)\n\/dev\/null\n(.*)\nnone\nnone\n$/);
  assert.deepEqual(
    text.split('\n').filter((line) => line === path),
    [path, path],
  );
  closeSync(given);
  closeSync(other);
});

test('a descriptor may become a lower one that another comes from', async () => {
  using temporary = temporaryDirectory();
  const low = openSync(temporary.path, 'r');
  const fds = Array.from({ length: low + 3 }, (_, index) =>
    index === 1 ? 'socket' : index < 3 ? 'null' : low,
  );
  const text = await outputOf(sh(`readlink /proc/$$/fd/${low}; readlink /proc/$$/fd/${low + 2}`, { fds }));
  assert.equal(text, `${realpathSync(temporary.path)}\n`.repeat(2));
  closeSync(low);
});

test('it has no environment, and the working directory that is named', async () => {
  const named = { ...SOCKET_IS_OUTPUT, cwd: '/usr' };
  assert.equal(await outputOf(sh('echo "${HOME-none} ${PATH_INFO-none}"; pwd', named)), 'none none\n/usr\n');
  assert.equal(await outputOf(sh('pwd')), `${process.cwd()}\n`);
});

test('the end is told as it was', async () => {
  assert.equal(await endOf(sh('exit 0')), undefined);
  assert.equal(await endOf(sh('exit 7')), '7');
  assert.equal(await endOf(sh('kill -TERM $$')), 'SIGTERM');
  const endless = sh('sleep 100');
  endless.kill();
  assert.equal(await endOf(endless), 'SIGKILL');
  endless.kill();
});

test('signals have their default meaning in it', async () => {
  process.on('SIGUSR2', () => undefined);
  const program = startProgram(
    '/bin/busybox',
    ['grep', '-E', '^Sig(Blk|Ign|Cgt)', '/proc/self/status'],
    SOCKET_IS_OUTPUT,
  );
  const text = await outputOf(program);
  process.removeAllListeners('SIGUSR2');
  assert.equal(text, ['SigBlk', 'SigIgn', 'SigCgt'].map((name) => `${name}:\t0000000000000000\n`).join(''));
});

test('its end is told where this process was started with SIGCHLD ignored', () => {
  const module = new URL('../../native/program.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then(async ({ startProgram }) => {
    const { socket, ended } = startProgram('/bin/busybox', ['sh', '-c', 'exit 5'], { fds: ['null', 'socket', 2] });
    socket.resume();
    process.stdout.write(String(await ended));
  });`;
  const trap = 'trap "" CHLD; exec "$0" -e "$1"';
  const ended = spawnSync('/bin/sh', ['-c', trap, process.execPath, script], { encoding: 'utf8' });
  assert.equal(ended.stdout, '5', ended.stderr);
});

test('what cannot be started is an error that names it, and leaves nothing open', () => {
  const before = readdirSync('/proc/self/fd').length;
  assert.throws(
    () => startProgram('/no/such/program', ['x'], SOCKET_IS_OUTPUT),
    (error) => isTsbuildError(error) && /start program: .*ENOENT/.test(error.message),
  );
  assert.throws(() => startProgram('/bin/busybox', ['sh'], { fds: [99_999] }), /EBADF/);
  assert.throws(() => startProgram('/bin/busybox', ['sh'], { ...SOCKET_IS_OUTPUT, cwd: '/no' }), /ENOENT/);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('all that a program writes is read before its end is told', async () => {
  const size = 5_000_000;
  const texts = await Promise.all(
    Array.from({ length: 4 }, () => outputOf(sh(`head -c ${size} /dev/zero; exit 3`))),
  );
  assert.deepEqual(
    texts.map(({ length }) => length),
    [size, size, size, size],
  );
});

test('five hundred programs, twenty at a time, end as they do, and leave neither zombies nor descriptors', async () => {
  await endOf(sh('true'));
  const before = readdirSync('/proc/self/fd').length;
  const pids: number[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < 500) {
      const number = next++;
      const program = sh(`echo ${number}; exit ${number % 5}`);
      pids.push(program.pid);
      assert.equal(await outputOf(program), `${number}\n`);
      assert.equal(await program.ended, number % 5 === 0 ? undefined : `${number % 5}`);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  assert.equal(readdirSync('/proc/self/fd').length, before);
  const children = readFileSync(join('/proc/self/task', `${process.pid}`, 'children'), 'utf8');
  const left = new Set(children.trim().split(' '));
  assert.deepEqual(
    pids.filter((pid) => left.has(`${pid}`)),
    [],
  );
});

test('a program whose socket outlives it is waited for at once, and ends with the socket', async () => {
  using temporary = temporaryDirectory();
  const go = join(temporary.path, 'go');
  const program = sh(`(until [ -e ${go} ]; do sleep 0.05; done; echo later) & exit 0`);
  const text = outputOf(program);
  const isThere = (): boolean => existsSync(`/proc/${program.pid}`);
  for (let tries = 0; tries < 1000 && isThere(); tries += 1) await sleep(20);
  assert.ok(!isThere());
  writeFileSync(go, '');
  assert.equal(await text, 'later\n');
  assert.equal(await program.ended, undefined);
});

test('its end is told where the clock stands still', async () => {
  const module = new URL('../../native/program.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then(async ({ startProgram }) => {
    for (let round = 0; round < 50; round += 1) {
      const { socket, ended } = startProgram('/bin/busybox', ['true'], { fds: ['null', 'socket', 2] });
      socket.resume();
      await ended;
    }
    process.stdout.write('all');
  });`;
  const ended = spawnSync('faketime', ['-f', '2001-01-01 00:00:00', process.execPath, '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(ended.stdout, 'all', ended.stderr);
});

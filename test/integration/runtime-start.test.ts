import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

const ok = { kind: 'exited', code: 0 };

async function failure(args: readonly string[], more: Parameters<Sandbox['spec']>[1] = {}) {
  try {
    await box.run(box.spec(args, more));
  } catch (error) {
    assert.ok(isTsbuildError(error), String(error));
    return error;
  }
  throw new assert.AssertionError({ message: `${args.join(' ')} started` });
}

async function refused(code: ErrorCode, args: readonly string[], more: Parameters<Sandbox['spec']>[1] = {}) {
  const error = await failure(args, more);
  assert.equal(error.code, code, error.message);
  return error;
}

test('exit codes come back exactly', async () => {
  for (const code of [0, 1, 3, 126, 127, 255])
    assert.deepEqual((await box.sh(`exit ${code}`)).status, { kind: 'exited', code });
});

test('a signal that ends the program comes back as its number', async () => {
  const aborts = await box.run(
    box.spec(['/bin/busybox', 'sh', '-c', 'ulimit -c 0; (sleep 9 & ) ; kill -9 $$; exit 5']),
  );
  // why: PID 1 cannot kill itself; the kernel ignores it.
  assert.deepEqual(aborts.status, { kind: 'exited', code: 5 });
  const container = await box.runtime.start(
    box.spec(['sleep', '60']),
    { kind: 'capture', onOutput: () => undefined },
    { signal: new AbortController().signal },
  );
  container.kill('SIGKILL');
  assert.deepEqual(await container.exited, { kind: 'signaled', signal: 9 });
});

test('a handler of the program sees the signal that kill() sends', async () => {
  let text = '';
  const container = await box.runtime.start(
    box.spec(['sh', '-c', 'trap "echo got; exit 7" TERM; echo ready; while :; do sleep 0.05; done']),
    {
      kind: 'capture',
      onOutput: (_stream, data) => {
        text += Buffer.from(data).toString();
        // Output may come before start() has resolved: the container is known a turn later at the latest.
        if (text === 'ready\n') setImmediate(() => container.kill('SIGTERM'));
      },
    },
    { signal: new AbortController().signal },
  );
  assert.deepEqual(await container.exited, { kind: 'exited', code: 7 });
  assert.equal(text, 'ready\ngot\n');
});

test('the abort signal kills the container', async () => {
  const abort = new AbortController();
  const container = await box.runtime.start(
    box.spec(['sleep', '60']),
    { kind: 'capture', onOutput: () => undefined },
    { signal: abort.signal },
  );
  abort.abort();
  assert.deepEqual(await container.exited, { kind: 'signaled', signal: 9 });
});

test('disposing of a running container kills it and waits', async () => {
  let exited: Promise<unknown>;
  {
    await using container = await box.runtime.start(
      box.spec(['sleep', '60']),
      { kind: 'capture', onOutput: () => undefined },
      { signal: new AbortController().signal },
    );
    exited = container.exited;
  }
  assert.deepEqual(await exited, { kind: 'signaled', signal: 9 });
});

test('a command that is nowhere in PATH is COMMAND_NOT_FOUND, 127', async () => {
  const error = await refused('COMMAND_NOT_FOUND', ['no-such-program']);
  assert.equal(error.exitCode, 127);
  assert.match(error.message, /no-such-program/);
  assert.equal((await refused('COMMAND_NOT_FOUND', ['/no/such'])).exitCode, 127);
});

test('a file that cannot be executed is COMMAND_NOT_EXECUTABLE, 126', async () => {
  writeFileSync(join(box.root, 'plain'), 'text');
  chmodSync(join(box.root, 'plain'), 0o644);
  assert.equal((await refused('COMMAND_NOT_EXECUTABLE', ['/plain'])).exitCode, 126);
  assert.equal((await refused('COMMAND_NOT_EXECUTABLE', ['/etc'])).exitCode, 126);
  writeFileSync(join(box.root, 'no-format'), 'text');
  chmodSync(join(box.root, 'no-format'), 0o755);
  assert.match((await refused('COMMAND_NOT_EXECUTABLE', ['/no-format'])).message, /exec format/);
});

test('an unreadable directory of PATH does not hide a later program, but decides the error', async () => {
  mkdirSync(join(box.root, 'locked'), { recursive: true });
  writeFileSync(join(box.root, 'locked/tool'), '');
  chmodSync(join(box.root, 'locked'), 0o700);
  const user = { uid: 1000, gid: 1000, additionalGids: [] };
  const found = await box.run(box.spec(['true'], { user, env: ['PATH=/locked:/bin'] }));
  assert.deepEqual(found.status, ok);
  await refused('COMMAND_NOT_EXECUTABLE', ['tool'], { user, env: ['PATH=/locked:/bin'] });
});

test('an argument list of a megabyte is refused with its errno', async () => {
  const error = await refused('COMMAND_NOT_EXECUTABLE', ['true', 'x'.repeat(200_000)]);
  assert.match(error.message, /E2BIG/);
});

test('a failure names the part of the spec and the errno', async () => {
  const error = await failure(['true'], {
    volumes: [{ kind: 'bind', source: '/no/such/source', target: '/mnt', readonly: false, recursive: false }],
  });
  assert.equal(error.code, 'CONTAINER_START_FAILED');
  assert.match(error.message, /mounts\[\d+\] at "\/mnt"/);
  assert.match(error.message, /ENOENT/);
  assert.match(error.message, /\/no\/such\/source/);
});

test('a NUL in an argument is refused before anything starts', async () => {
  await assert.rejects(
    () =>
      box.runtime.start(
        box.spec(['echo', 'a\0b']),
        { kind: 'capture', onOutput: () => undefined },
        { signal: new AbortController().signal },
      ),
    (error) => isTsbuildError(error, 'SPEC_INVALID'),
  );
});

test('all output is delivered before exited settles, streams apart', async () => {
  const { stdout, stderr } = await box.sh('seq 1 200000; seq 1 1000 >&2');
  assert.equal(stdout.length, 1_288_895);
  assert.equal(stdout.slice(-7), '200000\n');
  assert.equal(stderr.length, 3893);
});

test('the program is PID 1 and nothing in its pid namespace survives it', async () => {
  assert.equal((await box.sh('echo $$')).stdout, '1\n');
  const started = Date.now();
  const { status, stdout } = await box.sh('sleep 1000 & echo x');
  assert.deepEqual([status, stdout], [ok, 'x\n']);
  assert.ok(Date.now() - started < 60_000, 'it was not waited for');
});

test('stdin is /dev/null', async () => {
  assert.equal((await box.sh('cat; readlink /proc/self/fd/0')).stdout, '/dev/null\n');
});

test('only descriptors 0 to 2 are open in the program', async () => {
  const { stdout } = await box.run(box.spec(['ls', '/proc/self/fd']));
  // ls itself has the directory open as 3.
  assert.deepEqual(stdout.trim().split('\n'), ['0', '1', '2', '3']);
});

test('50 containers at the same time', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, (_, index) => box.sh(`echo ${index}; sleep 0.2; exit ${index}`)),
  );
  for (const [index, { stdout, status }] of outcomes.entries()) {
    assert.equal(stdout, `${index}\n`);
    assert.deepEqual(status, { kind: 'exited', code: index });
  }
});

test('more containers than the server has slots is an error, not a hang', async () => {
  const abort = new AbortController();
  const started = await Promise.allSettled(
    Array.from({ length: 300 }, () =>
      box.runtime.start(
        box.spec(['sleep', '100']),
        { kind: 'capture', onOutput: () => undefined },
        { signal: abort.signal },
      ),
    ),
  );
  abort.abort();
  const containers = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const refusals = started.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
  await Promise.all(containers.map((container) => container.exited));
  assert.equal(containers.length, 256);
  assert.ok(refusals.every((error) => isTsbuildError(error, 'CONTAINER_START_FAILED')));
});

test('HOME of one container is not that of the one before it', async () => {
  const homeOf = async (uid: number) => {
    const spec = box.spec(['sh', '-c', 'echo $HOME'], { user: { uid, gid: 0, additionalGids: [] } });
    const env = spec.env.filter((entry) => !entry.startsWith('HOME='));
    return (await box.run({ ...spec, env, findHome: true })).stdout;
  };
  assert.equal(await homeOf(0), '/root\n');
  assert.equal(await homeOf(12345), '/\n');
});

test('a working directory with .. is found while others rename without end', async (t) => {
  const child = spawn('python3', [
    '-c',
    `import os,sys,tempfile
with tempfile.TemporaryDirectory() as d:
    os.mkdir(d + '/a'); print('ready', flush=True)
    while os.getppid() == int(sys.argv[1]): os.rename(d + '/a', d + '/b'); os.rename(d + '/b', d + '/a')`,
    String(process.pid),
  ]);
  t.after(async () => {
    child.kill('SIGINT');
    await once(child, 'exit');
  });
  await once(child.stdout, 'data');
  for (let n = 0; n < 5; n += 1) {
    const { stdout, status } = await box.run(box.spec(['pwd'], { cwd: `/tmp${'/../tmp'.repeat(300)}` }));
    assert.deepEqual([stdout, status], ['/tmp\n', ok]);
  }
});

test('a working directory of 400 levels is made', async () => {
  const cwd = '/a'.repeat(400);
  const { stdout, status } = await box.run(box.spec(['pwd'], { cwd }));
  assert.deepEqual([stdout, status], [`${cwd}\n`, ok]);
});

test('what is in the way of a path is named', async () => {
  writeFileSync(join(box.root, 'obstacle'), '');
  const { message } = await failure(['true'], { cwd: '/obstacle/below/it' });
  assert.match(message, /working directory \("\/obstacle\/below\/it"\): ENOTDIR/);
});

test('the server keeps nothing of its children but what is theirs to give', async () => {
  const before = box.runtime.start(
    box.spec(['sleep', '100'], { cwd: '/tmp' }),
    { kind: 'capture', onOutput: () => undefined },
    { signal: new AbortController().signal },
  );
  await using first = await before;
  const server = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${first.pid}/status`, 'utf8'))?.[1]);
  const descriptors = (): number => readdirSync(`/proc/${server}/fd`).length;
  const state = (): unknown => [
    /^(?:Uid|Gid|Groups|Cap\w+|Seccomp|NoNewPrivs|SigIgn|SigBlk):.*$/gm[Symbol.match](
      readFileSync(`/proc/${server}/status`, 'utf8'),
    ),
    readlinkSync(`/proc/${server}/cwd`),
    readlinkSync(`/proc/${server}/root`),
    ['mnt', 'net', 'uts', 'ipc', 'pid', 'cgroup'].map((kind) => readlinkSync(`/proc/${server}/ns/${kind}`)),
  ];
  // Those of what another test had refused may still be there.
  const [had, most] = [state(), descriptors()];
  for (let round = 0; round < 20; round += 1) {
    assert.deepEqual(
      (await box.sh('exit 3', { user: { uid: 1000, gid: 1000, additionalGids: [] } })).status,
      {
        kind: 'exited',
        code: 3,
      },
    );
    await refused('COMMAND_NOT_FOUND', ['no-such-program']);
  }
  // why: a refusal is told before the streams of what was refused are closed.
  const isSettled = (): boolean => descriptors() <= most && isDeepStrictEqual(state(), had);
  for (let round = 0; round < 3000 && !isSettled(); round += 1) await sleep(10);
  assert.deepEqual(state(), had);
  assert.ok(descriptors() <= most, `${descriptors()} descriptors, ${most} before`);
});

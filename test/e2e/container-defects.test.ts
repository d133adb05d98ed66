/** What containers once got wrong, each test named after the symptom. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readTextIfExists } from '../../src/base/atomic-file.ts';
import { holderOf } from '../../src/runtime/cgroups/hierarchies.ts';
import { readHierarchies } from '../../src/runtime/cgroups/read-hierarchies.ts';
import { CLI, eventually, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
afterEach(() => {
  const left = space.ok(['ps', '-aq']).stdout.trim();
  if (left !== '') space.ok(['rm', '-f', ...left.split('\n')]);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

function run(...args: readonly string[]): string {
  return space.ok(['run', '-d', '--network', 'none', ...args]).stdout.trim();
}

/** As `run`, and back when the program has said `up`. */
async function runUp(...args: readonly string[]): Promise<void> {
  const log = join(space.root, 'containers', run(...args), 'log');
  await eventually(() => assert.match(readFileSync(log, 'utf8'), / up$/m));
}

function inspect(name: string, template: string): string {
  return space.ok(['inspect', '--format', template, name]).stdout.trim();
}

test('--log-driver none still wrote a log', async () => {
  const args = ['--log-driver', 'none', 'bb:1', 'sh', '-c', 'echo said; printf half'];
  assert.equal(space.ok(['run', '--rm', ...args]).stdout, 'said\nhalf');
  const id = run('--name', 'quiet', ...args);
  await eventually(() => assert.equal(inspect('quiet', '{{.State.Status}}'), 'exited'));
  const files = readdirSync(join(space.root, 'containers', id));
  assert.deepEqual(
    files.filter((name) => name.startsWith('log')),
    [],
  );
  assert.equal(inspect('quiet', '{{.HostConfig.LogConfig.Type}}/{{.LogPath}}'), 'none/');
  const logs = space.tsbuild(['logs', 'quiet']);
  assert.deepEqual([logs.code, logs.stdout], [1 + 1, '']);
  assert.match(logs.stderr, /configured logging driver does not support reading/);
  const both = space.tsbuild(['create', '--log-opt', 'max-size=1m', ...args]);
  assert.match(both.stderr, /invalid logging opts for driver none/);
  assert.equal(existsSync(join(space.root, 'containers', id)), true);
});

test('update --restart was not heard by a container that runs', async () => {
  const script = 'echo run; while [ ! -e /go ]; do sleep 0.05; done; exit 3';
  run('--name', 'up', 'bb:1', 'sh', '-c', script);
  space.ok(['update', '--restart', 'on-failure:2', 'up']);
  assert.equal(
    inspect('up', '{{json .HostConfig.RestartPolicy}}'),
    '{"Name":"on-failure","MaximumRetryCount":2}',
  );
  space.ok(['exec', 'up', 'touch', '/go']);
  await eventually(() => assert.equal(inspect('up', '{{.State.Status}} {{.RestartCount}}'), 'exited 2'));
  assert.equal(space.ok(['logs', 'up']).stdout, 'run\nrun\nrun\n');
  run('--name', 'no', '--restart', 'always', 'bb:1', 'sh', '-c', script);
  space.ok(['update', '--restart', 'no', 'no']);
  space.ok(['exec', 'no', 'touch', '/go']);
  await eventually(() => assert.equal(inspect('no', '{{.State.Status}} {{.RestartCount}}'), 'exited 0'));
});

test('--annotation had no effect', () => {
  const annotations = ['--annotation', 'org.example.a=b=c', '--annotation', 'run.oci.keep_original_groups=1'];
  run('--name', 'an', ...annotations, 'bb:1', 'sleep', '100');
  assert.equal(
    inspect('an', '{{json .HostConfig.Annotations}}'),
    '{"org.example.a":"b=c","run.oci.keep_original_groups":"1"}',
  );
  assert.equal(inspect('an', '{{index .HostConfig.Annotations "org.example.a"}}'), 'b=c');
  const groups = (more: readonly string[]): string =>
    execFileSync(
      'setpriv',
      [
        ...['--groups', '0,4242', process.execPath, CLI, 'run', '--rm', '--network', 'none'],
        ...[...more, 'bb:1', 'id', '-G'],
      ],
      { env: { ...process.env, TSBUILD_ROOT: space.root }, encoding: 'utf8' },
    ).trim();
  assert.equal(groups([]), '0');
  assert.equal(groups(annotations), '0 4242');
});

test('network ls --format took no templates', () => {
  space.ok(['network', 'create', '--label', 'tier=front', 'fmt']);
  try {
    const list = (...args: readonly string[]): string =>
      space.ok(['network', 'ls', '--filter', 'name=fmt', ...args]).stdout;
    assert.equal(
      list('--format', '{{.Name}} {{.Driver}} {{.Internal}} {{.Label "tier"}}'),
      'fmt bridge false front\n',
    );
    assert.match(list('--format', 'table {{.Name}}\\t{{.Scope}}'), /^NAME +SCOPE\nfmt +local\n$/);
    assert.equal((JSON.parse(list('--format', 'json')) as { readonly Name: string }).Name, 'fmt');
    assert.equal(list('-q', '--no-trunc').trim().length, 64);
    assert.match(space.tsbuild(['network', 'ls', '--format', '{{.Nope}}']).stderr, /Nope/);
  } finally {
    space.ok(['network', 'rm', 'fmt']);
  }
});

/** Types at the terminal of a command: `steps` are what to wait for and what to type then. Prints what was shown. */
const TYPIST = `import fcntl, os, pty, signal, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 31, 77, 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
seen = b''
for step in sys.argv[1].split('|'):
    wanted, typed = step.encode().decode('unicode_escape').encode('latin1').split(b'>', 1)
    while wanted not in seen:
        seen += os.read(fd, 4096)
    if typed == b'KILL':
        os.kill(pid, signal.SIGKILL)
        break
    os.write(fd, typed)
    time.sleep(0.2)
try:
    while True:
        data = os.read(fd, 4096)
        if not data: break
        seen += data
except OSError:
    pass
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
`;

function type(
  steps: string,
  args: readonly string[],
): { readonly code: number | null; readonly shown: string } {
  const script = join(space.directory, 'typist.py');
  writeFileSync(script, TYPIST);
  const ended = spawnSync('python3', [script, steps, process.execPath, CLI, ...args], {
    env: { ...process.env, TSBUILD_ROOT: space.root },
    encoding: 'latin1',
    timeout: 120_000,
  });
  return { code: ended.status, shown: ended.stdout };
}

function running(name: string, what: string): boolean {
  return space.ok(['top', name]).stdout.includes(what);
}

const FOR_EVER =
  'echo $$ > /pid; echo 0 > /count; stty -echo 2>/dev/null; echo up; n=0; while :; do n=$((n+1)); echo $n > /count; sleep 0.05; done';

async function stillCounts(name: string): Promise<void> {
  const count = (): number => Number(space.ok(['exec', name, 'cat', '/count']).stdout);
  const before = count();
  await eventually(() => assert.ok(count() > before + 2));
}

test('exec had no detach keys', async () => {
  run('--name', 'keys', 'bb:1', 'sleep', '1000');
  const left = type('up>\\x10|up>\\x11', ['exec', '-it', 'keys', 'sh', '-c', FOR_EVER]);
  assert.equal(left.code, 0);
  assert.match(left.shown, /up\r\n.*read escape sequence/s);
  await stillCounts('keys');
  const own = type('up>x', ['exec', '-it', '--detach-keys', 'x', 'keys', 'sh', '-c', FOR_EVER]);
  assert.match(own.shown, /read escape sequence/);
  const none = [
    'exec',
    '-it',
    '--detach-keys',
    '',
    'keys',
    'sh',
    '-c',
    'stty raw -echo; echo up; head -c 3 | od -c',
  ];
  assert.match(type('up>\\x10\\x11z', none).shown, /020 021 +z/);
  // What only begins like the keys is typed.
  const half = ['exec', '-it', 'keys', 'sh', '-c', 'stty raw -echo; echo up; head -c 2 | od -c'];
  assert.match(type('up>\\x10z', half).shown, /020 +z/);
});

test('exec died with its command', async () => {
  run('--name', 'goes', 'bb:1', 'sleep', '1000');
  const child = space.start(['exec', 'goes', 'sh', '-c', FOR_EVER]);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  await stillCounts('goes');
  space.ok(['exec', 'goes', 'sh', '-c', 'kill -9 $(cat /pid)']);
  await eventually(() => assert.equal(running('goes', '/count'), false));

  const interrupted = space.start(['exec', 'goes', 'sh', '-c', FOR_EVER]);
  await new Promise((resolve) => interrupted.stdout?.once('data', resolve));
  interrupted.kill('SIGINT');
  assert.equal(await new Promise((resolve) => interrupted.once('exit', resolve)), 130);
  await stillCounts('goes');
  space.ok(['exec', 'goes', 'sh', '-c', 'kill -9 $(cat /pid)']);

  // At a terminal: what it writes is read on, or it would stop when the terminal is full.
  const chatty =
    'echo 0 > /count; echo up; n=0; while :; do n=$((n+1)); echo $n > /count; seq 1 500; sleep 0.01; done';
  type('up>KILL', ['exec', '-it', 'goes', 'sh', '-c', chatty]);
  await stillCounts('goes');
});

test('exec -d -t gave no terminal', async () => {
  run('--name', 'dt', 'bb:1', 'sleep', '1000');
  space.ok(['exec', '-dt', 'dt', 'sh', '-c', 'tty > /tty; seq 1 100000; echo over > /over']);
  await eventually(() => assert.equal(space.ok(['exec', 'dt', 'cat', '/over']).stdout, 'over\n'));
  assert.match(space.ok(['exec', 'dt', 'cat', '/tty']).stdout, /^\/dev\/pts\/\d+\n$/);
});

test('a program that exec started looked at its terminal at once and saw no size', () => {
  run('--name', 'sized', 'bb:1', 'sleep', '1000');
  const sizes = Array.from({ length: 8 }, () => type('>', ['exec', '-it', 'sized', 'stty', 'size']).shown);
  assert.deepEqual(new Set(sizes), new Set(['31 77\r\n']));
});

test('exec -t without -i read the input all the same', () => {
  run('--name', 'noin', 'bb:1', 'sleep', '1000');
  const shown = type('up>typed\\n', [
    'exec',
    '-t',
    'noin',
    'sh',
    '-c',
    'stty -echo; echo up; read -t 1 line; echo "got <$line>"',
  ]).shown;
  assert.match(shown, /got <>/);
});

const hasMemory = holderOf(readHierarchies(), 'memory') !== undefined;

test('a container that ran out of memory did not say so', { skip: !hasMemory }, async () => {
  const limits = ['-m', '64m', '--memory-swap', '64m'];
  const eat = 'dd if=/dev/zero of=/dev/null bs=96M count=1';
  const said = /\(limit 64 MiB, peak 6[34](?:\.\d)? MiB\)\n/.source;
  const killed = space.tsbuild(['run', '--rm', ...limits, 'bb:1', ...eat.split(' ')]);
  assert.equal(killed.code, 137);
  assert.match(killed.stderr, new RegExp(`^warning: the container was killed: out of memory ${said}`, 'm'));
  const survived = space.tsbuild(['run', '--name', 'some', ...limits, 'bb:1', 'sh', '-c', `${eat}; exit 3`]);
  assert.equal(survived.code, 3);
  assert.match(survived.stderr, new RegExp(`a process of the container was killed: out of memory ${said}`));
  run('--name', 'kept', ...limits, 'bb:1', ...eat.split(' '));
  await eventually(() => assert.equal(inspect('kept', '{{.State.Status}}'), 'exited'));
  for (const name of ['some', 'kept']) {
    // Written by whoever cleans up, a moment after the end.
    await eventually(() =>
      assert.match(
        inspect(name, '{{.State.OOMKilled}} {{.State.Memory.Kills}} {{.State.Memory.Limit}}'),
        /^true [1-9]\d* 67108864$/,
      ),
    );
    assert.ok(Number(inspect(name, '{{.State.Memory.Peak}}')) > 60 << 20);
  }
  assert.match(
    space.tsbuild(['start', '-a', 'some']).stderr,
    new RegExp(`was killed: out of memory ${said}`),
  );
  assert.equal(space.tsbuild(['run', '--rm', ...limits, 'bb:1', 'true']).stderr, '');
});

test('--ipc=container:NAME shared no /dev/shm', async () => {
  const serve = 'echo theirs > /dev/shm/f; echo up; sleep 1000';
  await runUp('--name', 'donor', '--shm-size', '3m', 'bb:1', 'sh', '-c', serve);
  const joined = ['run', '--rm', '--network', 'none', '--ipc', 'container:donor'];
  const script =
    'cat /dev/shm/f; echo mine > /dev/shm/g; df -m /dev/shm | tail -1; grep -c /dev/shm /proc/mounts';
  const seen = space.ok([...joined, 'bb:1', 'sh', '-c', script]).stdout;
  assert.match(seen, /^theirs\n.*\s3\s.*\n\d+\n$/s);
  assert.equal(space.ok(['exec', 'donor', 'cat', '/dev/shm/g']).stdout, 'mine\n');
  // What the second one has is not the first one's to lose.
  run('--name', 'second', '--ipc', 'container:donor', 'bb:1', 'sleep', '1000');
  space.ok(['rm', '-f', 'donor']);
  assert.equal(space.ok(['exec', 'second', 'cat', '/dev/shm/f']).stdout, 'theirs\n');
});

test('a user namespace with the ipc namespace of somebody else did not start for /dev/mqueue', async () => {
  const serve = 'echo theirs > /dev/shm/f; touch /dev/mqueue/q; echo up; sleep 1000';
  await runUp('--name', 'queues', 'bb:1', 'sh', '-c', serve);
  const mapped = ['run', '--rm', '--network', 'none', '--userns', 'auto'];
  const script = 'cat /dev/shm/f; ls /dev/mqueue';
  const joined = space.ok([...mapped, '--ipc', 'container:queues', 'bb:1', 'sh', '-c', script]).stdout;
  assert.equal(joined, 'theirs\nq\n');
  const count = 'grep -c " /dev/mqueue " /proc/mounts; true';
  const host = space.ok([...mapped, '--ipc', 'host', 'bb:1', 'sh', '-c', count]).stdout;
  assert.equal(host, existsSync('/dev/mqueue') ? '1\n' : '0\n');
  assert.equal(space.ok([...mapped, 'bb:1', 'sh', '-c', count]).stdout, '1\n');
});

test('--ipc=none was as private', () => {
  run('--name', 'alone', '--ipc', 'none', 'bb:1', 'sleep', '1000');
  assert.equal(
    space.ok(['exec', 'alone', 'sh', '-c', 'ls -d /dev/shm 2>&1; true']).stdout.includes('No such file'),
    true,
  );
  assert.equal(inspect('alone', '{{.HostConfig.IpcMode}}'), 'none');
  const refused = space.tsbuild(['run', '--rm', '--ipc', 'container:alone', 'bb:1', 'true']);
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /container [0-9a-f]{12}: non-shareable IPC/);
});

test('a container that run could not start was in the way of its name, and could not be removed', () => {
  assert.equal(space.tsbuild(['run', '--name', 'bad', '--network', 'none', 'bb:1', 'nowhere']).code, 127);
  assert.equal(
    space.ok(['ps', '-a', '--filter', 'name=^bad$', '--format', '{{.Status}}']).stdout,
    'Created\n',
  );
  assert.match(inspect('bad', '{{.State.Error}}'), /nowhere/);
  assert.equal(space.ok(['rm', 'bad']).stdout, 'bad\n');
});

test('with a driver that keeps whole trees, mount points showed in diff, commit and export', async () => {
  const root = join(space.directory, 'whole');
  const copy = (...args: readonly string[]): string =>
    space.ok(['--root', root, '--storage-driver', 'copy', ...args]).stdout;
  copy('import', '-q', join(space.directory, 'busybox.tar'), 'bb:1');
  const script = 'echo x > /etc/new; echo filled > /srv/here; sleep 1000';
  copy('run', '-d', '--name', 'whole', '-v', 'vol:/srv/vol', '-v', 'vol:/data', 'bb:1', 'sh', '-c', script);
  const names = (tar: string): readonly string[] =>
    execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).trim().split('\n');
  const looksRight = (): void => {
    assert.equal(copy('diff', 'whole'), 'C /etc\nA /etc/new\nA /srv\nA /srv/here\n');
    const tar = join(space.directory, 'whole.tar');
    copy('export', '-o', tar, 'whole');
    const unwanted = names(tar).filter((name) =>
      /^(proc|sys|dev|data|srv\/vol|etc\/(hosts|hostname|resolv.conf|mtab))/.test(name),
    );
    assert.deepEqual(unwanted, []);
  };
  await eventually(looksRight);
  copy('restart', '-t', '0', 'whole');
  await eventually(looksRight);
  copy('commit', 'whole', 'made');
  assert.equal(copy('run', '--rm', 'made', 'cat', '/etc/new', '/srv/here'), 'x\nfilled\n');
  copy('rm', '-f', 'whole');
  assert.deepEqual(leftovers(root), []);
});

test('cp into or out of a container that was never started was a bug in tsbuild', () => {
  writeFileSync(join(space.directory, 'new'), 'new\n');
  space.ok(['create', '--name', 'fresh', '--network', 'none', 'bb:1', 'cat', '/etc/new']);
  space.ok(['cp', 'fresh:/etc/passwd', 'passwd']);
  assert.match(readFileSync(join(space.directory, 'passwd'), 'utf8'), /^root:/);
  space.ok(['cp', 'new', 'fresh:/etc/']);
  assert.equal(space.ok(['diff', 'fresh']).stdout, 'C /etc\nA /etc/new\n');
  assert.equal(space.ok(['start', '-a', 'fresh']).stdout, 'new\n');
});

test('a container could not read its own limits: /sys/fs/cgroup was empty', { skip: !hasMemory }, () => {
  const limit =
    holderOf(readHierarchies(), 'memory')?.version === 2
      ? '/sys/fs/cgroup/memory.max'
      : '/sys/fs/cgroup/memory/memory.limit_in_bytes';
  const script = `cat ${limit}; mkdir ${dirname(limit)}/x 2>&1`;
  const refused = new RegExp(`^${64 << 20}\\n(mkdir: .* Read-only file system\\n)$`);
  for (const flags of [[], ['--cgroupns', 'host'], ['--userns', 'auto'], ['-u', '1000']]) {
    const args = ['run', '--rm', '--network', 'none', '-m', '64m', ...flags, 'bb:1', 'sh', '-c', script];
    assert.match(space.tsbuild(args).stdout, refused, flags.join(' '));
  }
  const own = ['--privileged', '-m', '64m', 'bb:1', 'sh', '-c', `cat ${limit}`];
  assert.equal(space.ok(['run', '--rm', ...own]).stdout, `${64 << 20}\n`);
  const mine = ['run', '--rm', '--tmpfs', '/sys/fs/cgroup', 'bb:1', 'ls', '/sys/fs/cgroup'];
  assert.equal(space.ok(mine).stdout, '');
});

test('HOSTNAME was missing from the environment of a container', () => {
  run('--name', 'host', '-h', 'box', 'bb:1', 'sleep', '100');
  const name = 'echo $HOSTNAME';
  assert.equal(space.ok(['exec', 'host', 'sh', '-c', name]).stdout, 'box\n');
  assert.equal(space.ok(['exec', '-e', 'HOSTNAME=mine', 'host', 'sh', '-c', name]).stdout, 'mine\n');
  assert.equal(space.ok(['run', '--rm', '-h', 'box', 'bb:1', 'sh', '-c', name]).stdout, 'box\n');
  assert.equal(space.ok(['run', '--rm', '-e', 'HOSTNAME=', 'bb:1', 'sh', '-c', name]).stdout, '\n');
  assert.doesNotMatch(inspect('host', '{{json .Config.Env}}'), /HOSTNAME/);
});

test('ps showed the arguments of a command without quotes', () => {
  run('--name', 'said', 'bb:1', 'sh', '-c', 'sleep 100');
  assert.equal(space.ok(['ps', '--format', '{{.Command}}']).stdout, `"sh -c 'sleep 100'"\n`);
});

test('exec -w made the directory that it was to run in', () => {
  run('--name', 'dir', 'bb:1', 'sleep', '100');
  const missing = space.tsbuild(['exec', '-w', '/missing/too', 'dir', 'pwd']);
  assert.deepEqual([missing.code, missing.stdout], [126, '']);
  assert.match(missing.stderr, /working directory \("\/missing\/too"\): ENOENT/);
  assert.match(space.tsbuild(['exec', '-w', '/bin/busybox', 'dir', 'pwd']).stderr, /ENOTDIR/);
  assert.equal(space.tsbuild(['exec', 'dir', 'ls', '-d', '/missing']).code, 1);
  assert.equal(space.ok(['exec', '-w', '/tmp', 'dir', 'pwd']).stdout, '/tmp\n');
});

test('-w took a path that is not absolute', () => {
  run('--name', 'abs', 'bb:1', 'sleep', '100');
  const relative = space.tsbuild(['run', '--rm', '-w', 'here', 'bb:1', 'pwd']);
  assert.equal(relative.code, 125);
  assert.match(relative.stderr, /the working directory 'here' is invalid, it needs to be an absolute path/);
  assert.equal(space.tsbuild(['exec', '-w', 'here', 'abs', 'pwd']).code, 126);
});

test('exec as a user who is not there ended with 1, and a program without a name with 126', () => {
  run('--name', 'who', 'bb:1', 'sleep', '100');
  assert.equal(space.tsbuild(['exec', '-u', 'nobody7', 'who', 'id']).code, 126);
  assert.equal(space.tsbuild(['run', '--rm', '--network', 'none', 'bb:1', '']).code, 127);
});

test('rename to the name that a container has was taken for done', () => {
  space.ok(['create', '--name', 'same', 'bb:1', 'true']);
  assert.equal(space.tsbuild(['rename', 'same', 'same']).code, 1);
});

/** What `head -1` takes of a command, its exit code and what it says. */
function firstLine(...args: readonly string[]): { line: string; code: string; said: string } {
  const script = '{ { timeout -k 1 10 "$@"; echo $? >&3; } 2>&4 | head -n 1; }';
  const [code, said] = [join(space.directory, 'code'), join(space.directory, 'said')];
  const line = execFileSync(
    'sh',
    ['-c', `${script} 3>${code} 4>${said}`, 'sh', process.execPath, CLI, ...args],
    {
      env: space.env,
      encoding: 'utf8',
    },
  );
  return { line, code: readFileSync(code, 'utf8').trim(), said: readFileSync(said, 'utf8') };
}

test('a command whose output nobody reads any more died with an error of Node', async () => {
  run('--name', 'long', 'bb:1', 'sh', '-c', 'yes | head -n 100000; echo up; sleep 100');
  await eventually(() => assert.match(space.ok(['logs', '--tail', '1', 'long']).stdout, /^up$/m));
  for (const args of [
    ['logs', 'long'],
    ['logs', '-f', 'long'],
    ['exec', 'long', 'yes'],
    ['exec', '-t', 'long', 'yes'],
    ['run', '--rm', '--network', 'none', 'bb:1', 'yes'],
    ['run', '--rm', '-t', '--network', 'none', 'bb:1', 'yes'],
  ]) {
    const { line, code, said } = firstLine(...args);
    assert.deepEqual([line.trim(), code, said], ['y', '141', ''], args.join(' '));
  }
  const { code, said } = firstLine('stats', 'long');
  assert.deepEqual([code, said], ['141', '']);
});

test('start -ai of what create -i made never ended the input', () => {
  space.ok(['create', '-i', '--name', 'in', '--network', 'none', 'bb:1', 'cat']);
  const started = spawnSync(process.execPath, [CLI, 'start', '-ai', 'in'], {
    env: space.env,
    input: 'typed',
    timeout: 20_000,
    encoding: 'utf8',
  });
  assert.deepEqual([started.status, started.stdout], [0, 'typed']);
});

test('realtime signals were no signals, and STOPSIGNAL SIGRTMIN+3 was SIGTERM', async () => {
  const script = 'trap "echo rt" 35; trap "echo end; exit 4" 37; echo up; while :; do sleep 0.05; done';
  const context = space.context('rt', { Dockerfile: 'FROM bb:1\nSTOPSIGNAL SIGRTMIN+3\n' });
  space.ok(['build', '-t', 'rt', context]);
  for (const [flags, image, name] of [
    [[], 'rt', 'SIGRTMIN+3'],
    [['--stop-signal', 'RTMAX-27', '--init'], 'bb:1', 'SIGRTMIN+3'],
    [['--stop-signal', '37'], 'bb:1', 'SIGRTMIN+3'],
  ] as const) {
    await runUp('--name', 'rt', ...flags, image, 'sh', '-c', script);
    assert.equal(inspect('rt', '{{.Config.StopSignal}}'), name);
    space.ok(['kill', '-s', 'RTMIN+1', 'rt']);
    space.ok(['kill', '-s', 'SIGRTMAX-29', 'rt']);
    await eventually(() => assert.match(space.ok(['logs', 'rt']).stdout, /^up\nrt\n/));
    space.ok(['stop', 'rt']);
    assert.equal(inspect('rt', '{{.State.ExitCode}}'), '4');
    assert.match(space.ok(['logs', 'rt']).stdout, /end\n$/);
    space.ok(['rm', 'rt']);
  }
  for (const wrong of ['RTMIN+31', 'RTMAX+1', 'RTMIN3', '65', '33', '0'])
    assert.match(space.tsbuild(['kill', '-s', wrong, 'rt']).stderr, /invalid signal/, wrong);
});

test('what belongs to the network of another container was taken and came to nothing', () => {
  run('--name', 'net', 'bb:1', 'sleep', '100');
  for (const [flag, value, conflict] of [
    ['-p', '80:80', 'port publishing and the container type network mode'],
    ['--expose', '80', 'port exposing and the container type network mode'],
    ['-h', 'other', 'hostname and the network mode'],
    ['--dns', '1.1.1.1', 'dns and the network mode'],
    ['--add-host', 'a:1.1.1.1', 'custom host-to-IP mapping and the network mode'],
  ] as const) {
    const refused = space.tsbuild(['run', '--rm', '--network', 'container:net', flag, value, 'bb:1', 'true']);
    assert.equal(refused.code, 125, flag);
    assert.ok(refused.stderr.includes(`conflicting options: ${conflict}`), refused.stderr);
  }
  for (const [flags, said] of [
    [['--uts', 'host', '-h', 'other'], 'conflicting options: hostname and the UTS mode'],
    [['--dns', 'here'], 'IP address is not correctly formatted: here'],
  ] as const) {
    const refused = space.tsbuild(['run', '--rm', ...flags, 'bb:1', 'true']);
    assert.equal(refused.code, 125);
    assert.ok(refused.stderr.includes(said), refused.stderr);
  }
  const host = space.ok(['run', '--rm', '--network', 'host', '-p', '80:80', 'bb:1', 'true']);
  assert.match(host.stderr, /published ports are discarded when using host network mode/);
});

test('a name that is not there was told by network and volume with other exit codes, and no list', () => {
  for (const args of [['network', 'inspect'], ['volume', 'inspect'], ['inspect']])
    for (const names of [['nowhere'], ['nowhere', 'neither']]) {
      const { code, stdout } = space.tsbuild([...args, ...names]);
      assert.deepEqual([code, stdout], [1, '[]\n'], args.join(' '));
    }
  assert.equal(space.tsbuild(['network', 'rm', 'nowhere']).code, 1);
  const listed = space.ok(['network', 'ls', '-q']).stdout.trim().split('\n');
  const names = ['bridge', 'host', 'none'];
  assert.deepEqual(
    space
      .ok(['network', 'inspect', '-f', '{{.Name}}', ...listed])
      .stdout.trim()
      .split('\n')
      .sort(),
    names,
  );
  for (const name of names) assert.equal(inspect(name, '{{.Name}}'), name);
  assert.equal(inspect('bridge', '{{.Driver}}'), 'bridge');
  space.ok(['create', '--name', 'first', 'bb:1', 'true']);
  space.ok(['create', '--name', 'second', 'bb:1', 'true']);
  assert.equal(space.tsbuild(['rename', 'second', 'first']).code, 1);
});

test('a program that is not root could not open /dev/stdout, /dev/stderr or /dev/stdin', async () => {
  const script = 'echo out >/dev/stdout; echo err >/dev/stderr';
  for (const flags of [
    ['-u', '1000'],
    ['-u', '1000', '--init'],
    ['-u', '7', '--userns', 'auto'],
    ['--userns', 'auto'],
  ]) {
    const { stdout, stderr } = space.ok([
      'run',
      '--rm',
      '--network',
      'none',
      ...flags,
      'bb:1',
      'sh',
      '-c',
      script,
    ]);
    assert.deepEqual([stdout, stderr], ['out\n', 'err\n'], flags.join(' '));
  }
  await runUp('--name', 'user', '-u', '1000', 'bb:1', 'sh', '-c', `${script}; echo up; sleep 100`);
  assert.equal(space.ok(['logs', 'user']).stderr, 'err\n');
  // As a shell's pipes: what Node gives are sockets, which nobody can open.
  const piped = `{ "$@" 2>&1; } | cat`;
  const shell = (...args: readonly string[]): string =>
    execFileSync('sh', ['-c', `echo in | ${piped}`, 'sh', process.execPath, CLI, ...args], {
      env: space.env,
      encoding: 'utf8',
    });
  assert.equal(shell('exec', 'user', 'sh', '-c', script), 'out\nerr\n');
  assert.equal(shell('exec', '-i', 'user', 'cat', '/dev/stdin'), 'in\n');
  const context = space.context('user', { Dockerfile: `FROM bb:1\nUSER 1000\nRUN ${script}\n` });
  assert.match(space.ok(['build', '--progress', 'plain', context]).stderr, /err/);
});

test('prune did not ask whoever sits at a terminal, and took no until=', () => {
  space.ok(['create', '--name', 'old', '--label', 'a=b', 'bb:1', 'true']);
  space.ok(['volume', 'create', 'kept']);
  space.ok(['network', 'create', 'kept']);
  for (const what of ['container', 'volume', 'network']) {
    const { code, shown } = type('[y/N]>n\\r', [what, 'prune', ...(what === 'volume' ? ['-a'] : [])]);
    assert.equal(code, 0, shown);
    assert.match(shown, /WARNING! This will remove/);
  }
  for (const filter of ['until=1h', 'label!=a', 'label=a=c', 'until=2020-01-01'])
    for (const what of ['container', 'network'])
      assert.doesNotMatch(
        space.ok([what, 'prune', '-f', '--filter', filter, '--filter', 'until=1h']).stdout,
        /Deleted/,
      );
  assert.equal(inspect('old', '{{.Name}}'), '/old');
  space.ok(['volume', 'inspect', 'kept']);
  assert.match(space.ok(['network', 'prune', '--filter', 'until=0s']).stdout, /^Deleted Networks:\nkept\n/);
  assert.match(
    type('[y/N]>y\\r', ['container', 'prune', '--filter', 'label=a=b']).shown,
    /Deleted Containers/,
  );
  assert.match(type('[y/N]>y\\r', ['volume', 'prune', '-a']).shown, /Deleted Volumes:\r\nkept/);
});

test('of several who start a container at the same time all but one failed', async () => {
  space.ok(['create', '--name', 'once', '--network', 'none', 'bb:1', 'sleep', '100']);
  const codes = await Promise.all(
    ['start', 'start', 'restart', 'start'].map(
      (command) =>
        new Promise((resolve) =>
          space.start([command, ...(command === 'restart' ? ['-t', '0'] : []), 'once']).once('exit', resolve),
        ),
    ),
  );
  assert.deepEqual(codes, [0, 0, 0, 0]);
});

test('--tmpfs opened to all what the image has closed', () => {
  const context = space.context('modes', {
    Dockerfile: 'FROM bb:1\nRUN mkdir -m 700 /closed && mkdir -m 1777 /open\n',
  });
  space.ok(['build', '-t', 'modes', context]);
  const shown = (...flags: readonly string[]): string =>
    space.ok([
      'run',
      '--rm',
      '--network',
      'none',
      ...flags,
      'modes',
      'stat',
      '-c',
      '%n %a',
      '/closed',
      '/open',
      '/new',
    ]).stdout;
  const tmpfs = ['--tmpfs', '/closed', '--tmpfs', '/open:size=1m', '--tmpfs', '/new'];
  for (const flags of [[], ['--userns', 'auto'], ['--read-only']])
    assert.equal(shown(...flags, ...tmpfs), '/closed 700\n/open 1777\n/new 1777\n', flags.join(' '));
  const given = [
    '--tmpfs',
    '/closed:mode=755',
    '--mount',
    'type=tmpfs,dst=/open',
    '--tmpfs',
    '/new:mode=0700',
  ];
  assert.equal(shown(...given), '/closed 755\n/open 1777\n/new 700\n');
  space.ok(['create', '--name', 'shown', '--tmpfs', '/a:mode=700,size=1m', '--tmpfs', '/b', 'bb:1', 'true']);
  assert.equal(inspect('shown', '{{json .HostConfig.Tmpfs}}'), '{"/a":"size=1048576,mode=700","/b":""}');
});

test('-e with a name that is not set left the value of the image', () => {
  space.ok(['build', '-t', 'env', space.context('env', { Dockerfile: 'FROM bb:1\nENV A=image B=image\n' })]);
  const env = { A: undefined, B: 'outer' };
  const script = 'echo "${A-none} $B"';
  const args = ['-e', 'A', '-e', 'B'];
  assert.equal(space.ok(['run', '--rm', ...args, 'env', 'sh', '-c', script], { env }).stdout, 'none outer\n');
  run('--name', 'env', 'env', 'sleep', '100');
  assert.equal(space.ok(['exec', ...args, 'env', 'sh', '-c', script], { env }).stdout, 'none outer\n');
  assert.equal(space.ok(['exec', 'env', 'sh', '-c', script]).stdout, 'image image\n');
});

test('run --platform ran an image for another platform', () => {
  const of = (platform: string, ...flags: readonly string[]): readonly string[] => [
    ...['run', '--rm', '--network', 'none', '--platform', platform, ...flags, 'bb:1', 'echo', 'runs'],
  ];
  const own = inspect('bb:1', '{{.Os}}/{{.Architecture}}');
  assert.equal(space.ok(of(own)).stdout, 'runs\n');
  const refused = space.tsbuild(of('linux/s390x', '--pull', 'never'));
  assert.deepEqual([refused.code, refused.stdout], [125, '']);
  assert.ok(refused.stderr.includes(`the local image "bb:1" is for ${own}, not linux/s390x`), refused.stderr);
});

test('run and attach could not be ended by a signal that is not handed on', async () => {
  run('--name', 'mine', 'bb:1', 'sh', '-c', 'while :; do echo up; sleep 0.1; done');
  for (const args of [
    ['attach', '--sig-proxy=false', 'mine'],
    [
      'run',
      '--sig-proxy=false',
      '--name',
      'left',
      '--network',
      'none',
      'bb:1',
      'sh',
      '-c',
      'echo up; sleep 100',
    ],
    ['run', '-t', '--name', 'shown', '--network', 'none', 'bb:1', 'sh', '-c', 'echo up; sleep 100'],
  ]) {
    const child = space.start(args);
    const code = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGTERM');
    assert.equal(await code, 130, args.join(' '));
  }
  assert.equal(space.ok(['ps', '--format', '{{.Names}}']).stdout, 'shown\nleft\nmine\n');
});

test('a bridge whose state root is gone is removed by the host, whoever looked from another network namespace', () => {
  const root = join(space.directory, 'gone');
  space.ok(['--root', root, 'network', 'create', 'lost']);
  const of = ['network', 'inspect', '--format', '{{.Interface}}', 'lost'];
  const bridge = `/sys/class/net/${space.ok(['--root', root, ...of]).stdout.trim()}`;
  assert.match(bridge, /\/tsb-[0-9a-f]+$/);
  assert.ok(existsSync(bridge));
  execFileSync('rm', ['-rf', root]);
  const other = ['--root', join(space.directory, 'other'), 'system', 'check'];
  const elsewhere = spawnSync('unshare', ['-n', process.execPath, CLI, ...other], { env: space.env });
  assert.equal(elsewhere.status, 0, elsewhere.stderr.toString());
  // A command of a test beside this one may have been faster.
  space.ok(other);
  assert.ok(!existsSync(bridge));
});

test('the interface of a container that was killed while it sent stayed for minutes', async () => {
  // It takes connections and reads nothing.
  const server = createServer(() => undefined);
  await once(server.listen(0, '0.0.0.0'), 'listening');
  const connected = once(server, 'connection') as Promise<[Socket]>;
  try {
    const gateway = space
      .ok(['network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', 'bridge'])
      .stdout.trim();
    const { port } = server.address() as AddressInfo;
    const send = ['sh', '-c', `nc ${gateway} ${port} </dev/zero`];
    space.ok(['run', '-d', '--name', 'sender', 'bb:1', ...send]);
    const [peer] = await connected;
    peer.pause();
    await sleep(500);
    const index = space.ok(['exec', 'sender', 'cat', '/sys/class/net/eth0/iflink']).stdout;
    const veth = readdirSync('/sys/class/net').find(
      (name) => readTextIfExists(`/sys/class/net/${name}/ifindex`) === index,
    );
    assert.match(veth ?? '', /^tsbv/);
    space.ok(['rm', '-f', 'sender']);
    await eventually(() => assert.ok(!existsSync(`/sys/class/net/${veth ?? ''}`)), 20_000);
    peer.destroy();
  } finally {
    server.close();
  }
});

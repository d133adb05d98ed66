/** podman with tsbuild-runtime: twenty commands that people use. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import { eventually, freePort } from './fixture.ts';
import { makeBusyboxRoot } from '../integration/runtime-fixture.ts';

// why: Debian's podman asks for more than the hard limits of a container without CAP_SYS_RESOURCE.
const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];
const BOX = [...LIMITS, '--network=none'];
const SERVICE = 'trap "echo bye; exit 3" TERM; echo started; while :; do sleep 0.1; done';

let directory: string;

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

function podman(...args: readonly string[]): Outcome {
  const of = (name: string): string => join(directory, name);
  const globals = ['--root', of('root'), '--runroot', of('run'), '--tmpdir', of('tmp')];
  const { stdout, stderr, status } = spawnSync(
    'podman',
    [
      ...[...globals, '--storage-driver=vfs', '--cgroup-manager=cgroupfs', '--events-backend=file'],
      ...['--runtime', locateNative('tsbuild-runtime'), ...args],
    ],
    { encoding: 'utf8', timeout: 180_000 },
  );
  return { stdout, stderr, code: status };
}

/** Standard output of a command that must succeed. */
function ok(...args: readonly string[]): string {
  const { stdout, stderr, code } = podman(...args);
  assert.equal(code, 0, `podman ${args.join(' ')}: ${stderr}`);
  return stdout.trimEnd();
}

const run = (...args: readonly string[]): string => ok('run', '--rm', ...BOX, ...args);

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-podman-'));
  const root = join(directory, 'image');
  mkdirSync(root);
  makeBusyboxRoot(root);
  execFileSync('tar', ['-C', root, '-cf', join(directory, 'image.tar'), '.']);
  ok('import', '--change', 'CMD ["sh"]', join(directory, 'image.tar'), 'box:1');
});

after(() => {
  podman('rm', '-a', '-f', '-t', '0');
  podman('network', 'prune', '-f');
  rmSync(directory, { recursive: true, force: true });
});

test('run in the foreground: output and exit code', () => {
  assert.equal(run('box:1', 'echo', 'hello'), 'hello');
  assert.equal(podman('run', '--rm', ...BOX, 'box:1', 'sh', '-c', 'exit 7').code, 7);
  assert.equal(podman('run', '--rm', ...BOX, 'box:1', 'no-such-program').code, 127);
  assert.equal(podman('run', '--rm', ...BOX, 'box:1', '/etc/passwd').code, 126);
});

test('a detached container: ps, exec, logs, top, stats, pause, update, stop, start, kill, rm', async () => {
  ok('run', '-d', '--name', 'service', ...BOX, 'box:1', 'sh', '-c', SERVICE);
  assert.match(ok('ps'), /service/);
  assert.equal(ok('exec', 'service', 'cat', '/proc/1/comm'), 'sh');
  assert.equal(
    ok('exec', '-u', '1000', '-w', '/tmp', '-e', 'A=b', 'service', 'sh', '-c', 'id -u; pwd; echo $A'),
    '1000\n/tmp\nb',
  );
  assert.equal(podman('exec', 'service', 'sh', '-c', 'exit 9').code, 9);
  await eventually(() => assert.equal(ok('logs', 'service'), 'started'));
  assert.match(ok('top', 'service'), /sleep 0\.1|sh -c/);
  assert.match(ok('stats', '--no-stream', 'service'), /service/);
  ok('pause', 'service');
  assert.equal(ok('inspect', '-f', '{{.State.Status}}', 'service'), 'paused');
  ok('unpause', 'service');
  ok('update', '--memory', '64m', 'service');
  assert.equal(ok('exec', 'service', 'cat', '/sys/fs/cgroup/memory/memory.limit_in_bytes'), `${64 << 20}`);
  ok('stop', '-t', '5', 'service');
  assert.equal(ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'service'), 'exited 3');
  ok('start', 'service');
  ok('kill', '-s', 'KILL', 'service');
  ok('rm', '-f', 'service');
});

test('limits are those of the cgroup', () => {
  const files = '/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max';
  assert.equal(
    run('--memory', '32m', '--pids-limit', '20', 'box:1', 'sh', '-c', `cat ${files}`),
    `${32 << 20}\n20`,
  );
});

test('volumes, tmpfs, a read-only root', () => {
  const data = join(directory, 'data');
  mkdirSync(data);
  writeFileSync(join(data, 'file'), 'mine\n');
  const script =
    'cat /data/file; touch /data/x 2>/dev/null || echo ro; echo a > /t/a && cat /t/a; touch /x 2>/dev/null || echo ro';
  assert.equal(
    run('--read-only', '--tmpfs', '/t', '-v', `${data}:/data:ro`, 'box:1', 'sh', '-c', script),
    'mine\nro\na\nro',
  );
});

test('identity: user, capabilities, no_new_privs, filter, a terminal, a hostname', () => {
  assert.match(run('--user', '1000:1001', 'box:1', 'id'), /uid=1000.* gid=1001/);
  const status = run(
    '--cap-drop',
    'all',
    '--security-opt',
    'no-new-privileges',
    'box:1',
    'cat',
    '/proc/self/status',
  );
  assert.match(status, /CapEff:\t0{16}[\s\S]*NoNewPrivs:\t1\nSeccomp:\t2/);
  assert.equal(
    run('-t', '--hostname', 'inner', 'box:1', 'sh', '-c', 'tty; hostname').replaceAll('\r', ''),
    '/dev/pts/0\ninner',
  );
});

test('a user namespace', () => {
  const maps = ['--uidmap', '0:100000:65536', '--gidmap', '0:100000:65536'];
  assert.match(
    run(...maps, 'box:1', 'sh', '-c', 'id -u; cat /proc/self/uid_map'),
    /^0\n\s+0\s+100000\s+65536$/,
  );
});

test('a published port answers on the host', async () => {
  const port = await freePort();
  const serve = 'mkdir -p /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w';
  ok('run', '-d', '--name', 'web', ...LIMITS, '-p', `127.0.0.1:${port}:80`, 'box:1', 'sh', '-c', serve);
  const url = `http://127.0.0.1:${port}/`;
  const page = spawnSync('curl', ['-sf', '--retry', '5', '--retry-delay', '1', '--retry-connrefused', url], {
    encoding: 'utf8',
  });
  assert.equal(page.stdout, 'page\n');
  ok('rm', '-f', '-t', '0', 'web');
});

/** ps, inspect, top, stats, cp, diff, commit, export and update on containers that run. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
let id: string;
const ok = (...args: readonly string[]): string => space.ok(args).stdout;

before(() => {
  space = openWorkspace();
  importBusybox(space);
  id = ok(
    ...[
      'run',
      '-d',
      '--name',
      'web',
      '-m',
      '64m',
      '--pids-limit',
      '50',
      '--label',
      'tier=front',
      '-v',
      'data:/data',
    ],
    ...['--network', 'none', '--expose', '80', 'bb:1', 'sh', '-c', 'while :; do sleep 1; done'],
  ).trim();
});
after(() => {
  ok('rm', '-f', 'web');
  ok('volume', 'rm', 'data');
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

test('ps lists what runs, filters and formats', () => {
  assert.match(
    ok('ps'),
    new RegExp(
      `^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES\\n${id.slice(0, 12)} +bb:1 +"sh -c .*" .* Up .* 80/tcp +web\\n$`,
    ),
  );
  assert.equal(ok('ps', '-q', '--no-trunc', '--filter', 'label=tier=front'), `${id}\n`);
  assert.equal(ok('ps', '--filter', 'name=nope', '-q'), '');
  assert.equal(ok('ps', '--format', '{{.Names}} {{.State}} {{.Mounts}}'), 'web running data\n');
  assert.equal((JSON.parse(ok('ps', '--format', 'json')) as { Names: string }).Names, 'web');
  assert.match(ok('container', 'ls', '-s'), /SIZE\n.*virtual/);
});

test('inspect shows what was asked for and what is, by name, id and beginning', () => {
  const format =
    '{{.Name}} {{.State.Running}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{(index .Mounts 0).Name}}';
  for (const name of ['web', id, id.slice(0, 8)])
    assert.equal(ok('inspect', '-f', format, name), '/web true 67108864 50 data\n');
  const pid = ok('inspect', '-f', '{{.State.Pid}}', 'web').trim();
  assert.equal(ok('inspect', '-f', '{{.Namespaces.mnt}}', 'web'), `/proc/${pid}/ns/mnt\n`);
  assert.equal(ok('inspect', '--type', 'volume', '-f', '{{.Name}}', 'data'), 'data\n');
  const both = space.tsbuild(['inspect', '-f', '{{.Id}}', 'web', 'nowhere']);
  assert.deepEqual([both.code, both.stdout], [1, `${id}\n`]);
});

test('top and stats read its cgroup', () => {
  assert.match(ok('top', 'web'), /^UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot .* sh -c while/);
  assert.match(
    ok('stats', '--no-stream', 'web'),
    /^CONTAINER ID .*PIDS\n[\da-f]{12} +web +[\d.]+% +[\d.]+[KM]iB \/ 64MiB /,
  );
  const json = JSON.parse(ok('stats', '--no-stream', '--format', 'json')) as { Name: string; PIDs: string };
  assert.ok(json.Name === 'web' && Number(json.PIDs) >= 1);
});

test('update changes the limits of what runs', () => {
  ok('update', '-m', '80m', '--memory-swap', '160m', 'web');
  assert.match(ok('stats', '--no-stream', 'web'), / \/ 80MiB /);
  assert.equal(
    ok('inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}', 'web'),
    `${80 << 20} 50\n`,
  );
  assert.equal(space.tsbuild(['update', 'web']).code, 1 + 1);
});

test('cp goes both ways, through volumes, as tar, and never out of the root', () => {
  const file = join(space.directory, 'file');
  writeFileSync(file, 'host\n');
  ok('cp', file, 'web:/etc/got');
  assert.equal(ok('exec', 'web', 'cat', '/etc/got'), 'host\n');
  ok('cp', './file', 'web:/data');
  assert.equal(ok('exec', 'web', 'cat', '/data/file'), 'host\n');
  ok(
    'exec',
    'web',
    'sh',
    '-c',
    'ln -s /etc/passwd /leak; ln -s ../../../../../../../../ /up; mkdir /d; echo x > /d/x',
  );
  ok('cp', '-L', 'web:/leak', join(space.directory, 'leaked'));
  assert.match(readFileSync(join(space.directory, 'leaked'), 'utf8'), /bob/, "the container's own passwd");
  ok('cp', file, 'web:/up/tmp/below');
  assert.equal(ok('exec', 'web', 'cat', '/tmp/below'), 'host\n');
  const tar = execFileSync(process.execPath, [CLI, 'cp', 'web:/d', '-'], {
    env: { ...process.env, TSBUILD_ROOT: space.root },
  });
  assert.equal(execFileSync('tar', ['-tf', '-'], { input: tar, encoding: 'utf8' }), 'd/\nd/x\n');
  execFileSync(process.execPath, [CLI, 'cp', '-', 'web:/tmp'], {
    env: { ...process.env, TSBUILD_ROOT: space.root },
    input: tar,
  });
  assert.equal(ok('exec', 'web', 'cat', '/tmp/d/x'), 'x\n');
  symlinkSync('/etc/hostname', join(space.directory, 'link'));
  assert.equal(space.tsbuild(['cp', 'web:/nowhere', '.']).code, 1);
  assert.equal(space.tsbuild(['cp', 'a', 'b']).code, 2);
});

test('diff, export and commit have its own changes and nothing that is mounted', () => {
  const changes = ok('diff', 'web');
  assert.match(changes, /^C \/etc\nA \/etc\/got\n/m);
  assert.doesNotMatch(changes, /\/data|hosts|resolv/);
  const committed = ok('commit', '-m', 'a message', '-c', 'CMD ["cat", "/etc/got"]', 'web', 'mine:1').trim();
  assert.match(committed, /^sha256:[\da-f]{64}$/);
  assert.equal(ok('run', '--rm', '--network', 'none', 'mine:1'), 'host\n');
  assert.match(ok('history', '--format', '{{.Comment}}', 'mine:1'), /^a message\n/);
  const out = join(space.directory, 'root.tar');
  ok('export', '-o', out, 'web');
  const names = execFileSync('tar', ['-tf', out], { encoding: 'utf8' });
  assert.ok(names.includes('etc/got\n') && !names.includes('data/file'));
  assert.equal(ok('inspect', '-f', '{{.State.Status}}', 'web'), 'running\n');
});

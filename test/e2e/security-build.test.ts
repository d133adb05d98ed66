/** Attacks of Dockerfiles, images and build contexts on the host, tried with the real command. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

/** A directory of the host that no build may read or change. */
function makeVictim(space: Workspace): string {
  const victim = join(space.directory, 'victim');
  mkdirSync(join(victim, 'sub/x'), { recursive: true });
  writeFileSync(join(victim, 'file'), 'PRIVATE-OF-THE-HOST');
  return victim;
}

function assertUntouched(victim: string): void {
  const found = execFileSync('find', [victim, '-printf', '%P '], { encoding: 'utf8' })
    .trim()
    .split(' ')
    .sort();
  assert.deepEqual(found, ['file', 'sub', 'sub/x']);
  assert.equal(readFileSync(join(victim, 'file'), 'utf8'), 'PRIVATE-OF-THE-HOST');
}

/** busybox with what `change` did to it, as an image. */
function importChanged(space: Workspace, name: string, change: (root: string) => void): void {
  importBusybox(space);
  const root = join(space.directory, `root-${name}`);
  mkdirSync(root);
  execFileSync('tar', ['-C', root, '-xf', join(space.directory, 'busybox.tar')]);
  change(root);
  const tar = join(space.directory, `${name}.tar`);
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.']);
  space.ok(['import', '--progress', 'quiet', tar, `${name}:1`]);
}

const build = (...args: readonly string[]): string[] => ['build', '--progress', 'plain', ...args];

test('CVE-2026-47766: an image whose /dev leads to the host is not run', () => {
  using space = openWorkspace();
  const victim = makeVictim(space);
  importChanged(space, 'evil', (root) => symlinkSync(victim, join(root, 'dev')));
  const context = space.context('c', { Dockerfile: 'FROM evil:1\nRUN true\n' });
  assert.equal(space.tsbuild(build(context)).code, 1);
  assert.notEqual(space.tsbuild(['run', '--rm', 'evil:1', 'true']).code, 0);
  assertUntouched(victim);
});

test('CVE-2024-21626: WORKDIR through a descriptor of ours is no way out', () => {
  using space = openWorkspace();
  importBusybox(space);
  for (let fd = 3; fd < 20; fd += 4) {
    const context = space.context('c', {
      Dockerfile: `FROM bb:1\nWORKDIR /proc/self/fd/${fd}\nRUN cd ../../../.. && ls && touch escaped\n`,
    });
    assert.equal(space.tsbuild(build(context)).code, 1, `fd ${fd}`);
  }
  assert.ok(!existsSync('/escaped'));
});

test('CVE-2024-9675: the id of a cache mount is no path', () => {
  using space = openWorkspace();
  importBusybox(space);
  const victim = makeVictim(space);
  const ids = [
    '../../x',
    '../../../../../../../../etc',
    victim,
    '..',
    '.',
    'a/../../../b',
    '%2e%2e/x',
    'x\\0y',
  ];
  const mounts = ids.map((id) => `RUN --mount=type=cache,id=${id},target=/c touch /c/made`).join('\n');
  const context = space.context('c', { Dockerfile: `FROM bb:1\n${mounts}\n` });
  space.ok(build(context));
  const caches = readdirSync(join(space.root, 'run/caches'));
  assert.equal(caches.length, ids.length);
  for (const name of caches) assert.match(name, /^[0-9a-f]{64}$/);
  for (const path of [victim, '/etc']) assert.ok(!existsSync(join(path, 'made')));
  assertUntouched(victim);
});

test('COPY into a symlink of the image stays in the image', () => {
  using space = openWorkspace();
  const victim = makeVictim(space);
  importChanged(space, 'evil', (root) => {
    symlinkSync(victim, join(root, 'x'));
    symlinkSync(join(victim, 'file'), join(root, 'y'));
  });
  const context = space.context('c', {
    f: 'evil',
    Dockerfile: 'FROM evil:1\nCOPY f /x/\nCOPY f /x/file\nCOPY f /y\nADD f /x/sub/x/\nWORKDIR /x/made\n',
  });
  space.ok(build(context));
  assertUntouched(victim);
});

test('COPY takes nothing from outside the context, whatever its symlinks say', () => {
  using space = openWorkspace();
  importBusybox(space);
  const victim = makeVictim(space);
  const context = space.context('c', { Dockerfile: 'FROM scratch\nCOPY . /all/\n' });
  symlinkSync(victim, join(context, 'out'));
  symlinkSync(join(victim, 'file'), join(context, 'leak'));
  symlinkSync(`${'../'.repeat(20)}${victim.slice(1)}/file`, join(context, 'climb'));
  space.ok(build('-o', 'type=tar,dest=all.tar', context));
  assert.ok(!readFileSync(join(space.directory, 'all.tar')).includes('PRIVATE-OF-THE-HOST'));
  for (const source of ['out/', 'out/file', 'leak', 'climb', `${victim}/file`, '../victim/file']) {
    writeFileSync(join(context, 'Dockerfile'), `FROM scratch\nCOPY ${source} /f\n`);
    const ended = space.tsbuild(build('-o', 'type=tar,dest=one.tar', context));
    if (ended.code === 0)
      assert.ok(!readFileSync(join(space.directory, 'one.tar')).includes('PRIVATE-OF-THE-HOST'), source);
  }
});

const SWAPPER = `
#include <fcntl.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	while (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) == 0)
		;
	return 1;
}
`;

test('COPY of a directory that is swapped for a symlink meanwhile takes nothing from outside', () => {
  using space = openWorkspace();
  const victim = makeVictim(space);
  for (let n = 0; n < 40; n += 1) writeFileSync(join(victim, `file${n}`), 'PRIVATE-OF-THE-HOST');
  const swap = join(space.directory, 'swap');
  execFileSync('gcc', ['-O1', '-D_GNU_SOURCE', '-x', 'c', '-o', swap, '-'], { input: SWAPPER });
  const context = space.context('c', {
    'd/file': 'public',
    Dockerfile: 'FROM scratch\nCOPY d /d\nCOPY d/file /f\n',
  });
  for (let n = 0; n < 40; n += 1) copyFileSync(join(context, 'd/file'), join(context, `d/file${n}`));
  symlinkSync(victim, join(context, 'l'));
  const swapper = spawn(swap, [join(context, 'd'), join(context, 'l')], { stdio: 'ignore' });
  try {
    for (let n = 0; n < 15; n += 1) {
      const ended = space.tsbuild(build('--no-cache', '-o', 'type=tar,dest=out.tar', context));
      if (ended.code !== 0) continue;
      const tar = readFileSync(join(space.directory, 'out.tar'));
      assert.ok(!tar.includes('PRIVATE-OF-THE-HOST'));
      rmSync(join(space.directory, 'out.tar'));
    }
  } finally {
    swapper.kill('SIGKILL');
  }
});

test('CVE-2024-24557: equal instructions on different parents are different steps', () => {
  using space = openWorkspace();
  importChanged(space, 'one', (root) => writeFileSync(join(root, 'id'), 'one'));
  importChanged(space, 'two', (root) => writeFileSync(join(root, 'id'), 'two'));
  const result = (dockerfile: string, ...more: readonly string[]): string => {
    const context = space.context('c', { Dockerfile: dockerfile, f: 'f' });
    space.ok(build('-o', 'type=local,dest=out', ...more, context));
    const text = readFileSync(join(space.directory, 'out/out'), 'utf8');
    rmSync(join(space.directory, 'out'), { recursive: true });
    return text.trim();
  };
  const steps = 'RUN cat /id > /out\n';
  assert.equal(result(`FROM one:1\n${steps}`), 'one');
  assert.equal(result(`FROM two:1\n${steps}`), 'two');
  // Built on nothing, a layer is the same whatever image it claims to continue.
  const copied = 'COPY f /out\nCOPY --from=x /id /out\n';
  assert.equal(result(`FROM one:1 AS x\nFROM scratch\n${copied}`), 'one');
  assert.equal(result(`FROM two:1 AS x\nFROM scratch\n${copied}`), 'two');
  const env = (value: string): string => `FROM one:1\nENV V=${value}\nRUN echo $V > /out\n`;
  assert.equal(result(env('a')), 'a');
  assert.equal(result(env('b')), 'b');
  const user = (name: string): string =>
    `FROM one:1 AS x\nRUN chmod 777 /tmp\nUSER ${name}\nRUN id -un > /tmp/out\nFROM scratch\nCOPY --from=x /tmp/out /out\n`;
  assert.equal(result(user('root')), 'root');
  assert.equal(result(user('bob')), 'bob');
});

test('CVE-2024-9676: an /etc/passwd that never ends, or is no file, or leads outside, is not read', () => {
  using space = openWorkspace();
  const victim = makeVictim(space);
  writeFileSync(join(victim, 'file'), 'evil:x:0:0::/:/bin/sh\n');
  const forms: Readonly<Record<string, (passwd: string) => void>> = {
    fifo: (passwd) => void execFileSync('mkfifo', [passwd]),
    zero: (passwd) => void execFileSync('mknod', [passwd, 'c', '1', '5']),
    huge: (passwd) => void execFileSync('truncate', ['-s', '20M', passwd]),
    link: (passwd) => symlinkSync(join(victim, 'file'), passwd),
    climb: (passwd) => symlinkSync(`${'../'.repeat(20)}${victim.slice(1)}/file`, passwd),
    directory: (passwd) => mkdirSync(passwd),
  };
  for (const [name, make] of Object.entries(forms)) {
    importChanged(space, name, (root) => {
      rmSync(join(root, 'etc/passwd'));
      make(join(root, 'etc/passwd'));
    });
    const context = space.context('c', { Dockerfile: `FROM ${name}:1\nUSER evil\nRUN true\n` });
    const began = Date.now();
    const refused = space.tsbuild(build(context));
    assert.equal(refused.code, 1, name);
    if (name === 'huge') assert.match(refused.stderr, /20971520 bytes; at most 1048576 are read/);
    assert.notEqual(space.tsbuild(['run', '--rm', '-u', 'evil', `${name}:1`, 'true']).code, 0, name);
    assert.ok(Date.now() - began < 60_000, `${name} took long`);
  }
});

test('an export writes through no symlink that an earlier export left', () => {
  using space = openWorkspace();
  const victim = makeVictim(space);
  const export_ = (files: (context: string) => void): number | null => {
    const context = space.context('c', { Dockerfile: 'FROM scratch\nCOPY d/ /\n' });
    rmSync(join(context, 'd'), { recursive: true, force: true });
    mkdirSync(join(context, 'd'));
    files(context);
    return space.tsbuild(build('-o', 'out', context)).code;
  };
  assert.equal(
    export_((context) => {
      symlinkSync(join(victim, 'file'), join(context, 'd/f'));
      symlinkSync(victim, join(context, 'd/dir'));
      symlinkSync(join(victim, 'new'), join(context, 'd/dangling'));
    }),
    0,
  );
  export_((context) => {
    writeFileSync(join(context, 'd/f'), 'evil');
    writeFileSync(join(context, 'd/dangling'), 'evil');
  });
  export_((context) => {
    mkdirSync(join(context, 'd/dir'));
    writeFileSync(join(context, 'd/dir/file'), 'evil');
    writeFileSync(join(context, 'd/dir/new'), 'evil');
  });
  assertUntouched(victim);
});

test('GHSA-4c29-8rgm-jvjj: names that a Dockerfile or an archive chooses become no paths', () => {
  using space = openWorkspace();
  importBusybox(space);
  const victim = makeVictim(space);
  for (const instruction of [
    `RUN --mount=type=secret,id=../../victim/file cat /run/secrets/* 2>/dev/null; true`,
    `RUN --mount=type=bind,from=../../victim,target=/m cat /m/file`,
    `COPY --from=../victim file /`,
    `COPY --from=${victim} file /`,
  ]) {
    const context = space.context('c', { Dockerfile: `FROM bb:1\n${instruction}\n` });
    const ended = space.tsbuild(build(context));
    assert.ok(!`${ended.stdout}${ended.stderr}`.includes('PRIVATE-OF-THE-HOST'), instruction);
  }
  for (const id of [
    '../victim',
    `${'../'.repeat(10)}etc`,
    'sha256:../../victim',
    `sha256:${'0'.repeat(63)}/`,
  ])
    for (const args of [
      ['images', 'rm', id],
      ['run', '--rm', '--pull', 'never', id, 'true'],
    ])
      assert.notEqual(space.tsbuild(args).code, 0, id);
  assertUntouched(victim);
});

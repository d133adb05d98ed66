/**
 * The mount namespace of a container: what is in it, and what of it is seen outside. All of it holds for the first
 * container of a server, whose namespace is a copy of the host's, and for a later one, whose root is put together apart.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ATTRIBUTE } from '../../native/plan-ops.ts';
import type { Attachment } from '../../src/runtime/runtime.ts';
import { ALL_CAPABILITIES } from '../../src/runtime/capabilities.ts';
import type { ContainerInput } from '../../src/runtime/default-spec.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

/** Leaves its root as chroot(2) lets everybody who may call it, and says what is above. */
const BREAKOUT = `
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void)
{
	mkdir("/prison", 0700);
	int out = open("/", O_RDONLY | O_DIRECTORY);
	if (chroot("/prison") < 0 || fchdir(out) < 0)
		return 1;
	for (int i = 0; i < 100; i++)
		if (chdir("..") < 0)
			return 2;
	if (chroot(".") < 0)
		return 3;
	DIR *entries = opendir("/");
	for (struct dirent *e; entries && (e = readdir(entries));)
		puts(e->d_name);
	return entries ? 0 : 4;
}
`;

const BIND: Attachment = {
  ...{
    type: 'bind',
    source: '',
    target: '/shared',
    bind: true,
    recursive: true,
    copyUp: false,
    remount: false,
  },
  ...{ set: 0, clear: 0, setBelow: 0, clearBelow: 0, propagation: 0, options: [] },
};

/** A sandbox with a shared mount of the host, and a server that has run a container already, or none yet. */
async function withBox(which: string, work: (box: Sandbox, shared: string) => Promise<void>): Promise<void> {
  const box = openSandbox();
  const shared = join(box.directory, 'shared');
  mkdirSync(shared);
  mkdirSync(join(box.root, 'shared'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'shared', shared]);
  try {
    execFileSync('mount', ['--make-shared', shared]);
    mkdirSync(join(shared, 'sub'));
    if (which === 'a later') await box.sh('true');
    await work(box, shared);
  } finally {
    execFileSync('umount', ['-l', shared]);
    await box.close();
  }
}

/** What a container needs to mount something. */
const MIGHTY: Partial<ContainerInput> = { capabilities: ALL_CAPABILITIES, seccomp: 'unconfined' };
const ok = { kind: 'exited', code: 0 };

for (const which of ['the first', 'a later'] as const) {
  test(`${which} container sees its own mounts alone, the root first`, () =>
    withBox(which, async (box) => {
      const { stdout } = await box.sh('cut -d" " -f5 /proc/self/mountinfo');
      const [root, ...others] = stdout.trim().split('\n');
      assert.equal(root, '/');
      for (const path of others) assert.match(path, /^\/(?:proc|sys|dev|etc)(?:\/|$)/);
      assert.ok(others.includes('/proc') && others.includes('/dev/pts'));
    }));

  test(`${which} container that breaks out of a root of its own finds its container's root above`, () =>
    withBox(which, async (box) => {
      writeFileSync(join(box.directory, 'breakout.c'), BREAKOUT);
      execFileSync('gcc', [
        ...['-static', '-o', join(box.root, 'bin/breakout')],
        join(box.directory, 'breakout.c'),
      ]);
      const { stdout, status } = await box.sh('breakout');
      assert.deepEqual(status, ok);
      assert.deepEqual(
        stdout.trim().split('\n').toSorted(),
        [...readdirSync(box.root), '.', '..'].toSorted(),
      );
    }));

  for (const outside of [false, true])
    test(`what ${which} container mounts below a shared directory stays inside${outside ? ', opened outside' : ''}`, () =>
      withBox(which, async (box, shared) => {
        const mountsOfHost = (): readonly string[] =>
          readFileSync('/proc/self/mountinfo', 'utf8')
            .split('\n')
            .filter((line) => line.includes(box.directory));
        const had = mountsOfHost();
        const { stdout, status } = await box.sh(
          'mount -t tmpfs inner /shared/sub && touch /shared/sub/f && ls /shared/sub && sleep 0.1',
          { ...MIGHTY, volumes: [{ kind: 'attach', ...BIND, source: shared, outside }] },
        );
        assert.deepEqual([stdout, status], ['f\n', ok]);
        assert.deepEqual(mountsOfHost(), had);
        assert.deepEqual(readdirSync(join(shared, 'sub')), []);
      }));

  test(`what the host mounts while ${which} container runs stays outside`, () =>
    withBox(which, async (box, shared) => {
      let text = '';
      const script = 'echo ready; while test ! -e /shared/go; do sleep 0.02; done; ls /shared/sub';
      const container = await box.runtime.start(
        box.spec(['sh', '-c', script], {
          volumes: [{ kind: 'attach', ...BIND, source: shared, set: ATTRIBUTE.readonly }],
        }),
        { kind: 'capture', onOutput: (_stream, data) => void (text += Buffer.from(data).toString()) },
        { signal: new AbortController().signal },
      );
      execFileSync('mount', ['-t', 'tmpfs', 'outer', join(shared, 'sub')]);
      writeFileSync(join(shared, 'sub/seen'), '');
      writeFileSync(join(shared, 'go'), '');
      await container.exited;
      assert.equal(text, 'ready\n');
    }));

  test(`${which} container with all rights can pivot, and make a user namespace`, () =>
    withBox(which, async (box) => {
      const { stdout, stderr } = await box.sh(
        'mount -t tmpfs new /tmp; mkdir /tmp/bin /tmp/old; cp /bin/busybox /tmp/bin/; cd /tmp; ' +
          "unshare -m sh -c 'mount --make-rprivate /; pivot_root . old && /bin/busybox ls /'; " +
          'unshare -U true && echo made',
        MIGHTY,
      );
      assert.deepEqual([stdout, stderr], ['bin\nold\nmade\n', '']);
    }));

  test(`${which} container gets a part of another root, a file and a read-only volume`, () =>
    withBox(which, async (box, shared) => {
      writeFileSync(join(shared, 'sub/f'), 'f\n');
      const { stdout } = await box.sh(
        'cat /part/f /file; touch /shared/x 2>/dev/null || echo ro; id -u > /proc/sys/kernel/hostname || echo ro',
        {
          volumes: [
            {
              ...{ kind: 'assembled', source: '/sub', target: '/part', readonly: true },
              mounts: [{ kind: 'bind', source: shared, readonly: true }],
            },
            { kind: 'file', target: '/file', content: 'text\n', mode: 0o444, uid: 5, gid: 6, readonly: true },
            { kind: 'attach', ...BIND, source: shared, set: ATTRIBUTE.readonly },
          ],
        },
      );
      assert.equal(stdout, 'f\ntext\nro\nro\n');
    }));
}

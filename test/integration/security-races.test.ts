/** Mount targets that are swapped while they are used (CVE-2021-30465, CVE-2023-28642, CVE-2024-45310, CVE-2024-23651). */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import type { ContainerMount } from '../../src/runtime/runtime.ts';
import { compileInto } from './security-launch.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

/** Exchanges two names as fast as it can, until it is killed. */
const SWAPPER = `
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	write(1, "ready\\n", 6);
	for (;;)
		if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0)
			return 1;
}
`;

const STARTS = 1000;
const AT_ONCE = 4;
const signal = new AbortController().signal;

let box: Sandbox;
let victim: string;
let shared: string;
before(() => {
  box = openSandbox();
  compileInto(box.root, 'swapper', SWAPPER);
  victim = mkdtempSync(join(box.directory, 'victim-'));
  writeFileSync(join(victim, 'file'), 'untouched');
  shared = mkdtempSync(join(box.directory, 'shared-'));
  mkdirSync(join(shared, 'd'));
  symlinkSync(victim, join(shared, 'l'));
});
after(() => box.close());

const sharedAt = (target: string): ContainerMount => ({
  kind: 'bind',
  source: shared,
  target,
  readonly: false,
  recursive: false,
});

test('CVE-2021-30465: a directory that another container swaps for a symlink leads nowhere, 1,000 times', async () => {
  let said = '';
  await using swapper = await box.runtime.start(
    box.spec(['swapper', '/s/d', '/s/l'], { volumes: [sharedAt('/s')] }),
    { kind: 'capture', onOutput: (_, data) => (said += Buffer.from(data).toString()) },
    { signal },
  );
  while (said === '') await new Promise((resolve) => setTimeout(resolve, 1));
  const before = mountsHere();
  let next = 0;
  let started = 0;
  const worker = async (): Promise<void> => {
    while (next < STARTS) {
      const n = (next += 1);
      const volumes: ContainerMount[] = [
        sharedAt('/s'),
        { kind: 'tmpfs', target: `/s/d/made-${n % 7}`, mode: 0o755 },
        { kind: 'file', target: '/s/d/file', content: 'evil', mode: 0o644, uid: 0, gid: 0, readonly: false },
      ];
      const spec = box.spec(['sh', '-c', 'echo evil > /s/d/made-0/x; echo evil > /s/d/x; true'], {
        volumes,
        cwd: `/s/d/cwd-${n % 7}`,
      });
      await box.run(spec).then(
        () => (started += 1),
        (error: unknown) => assert.ok(isTsbuildError(error, 'CONTAINER_START_FAILED'), String(error)),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  assert.equal(said, 'ready\n', 'it swapped all the time');
  assert.ok(started > 0, 'some were started');
  assert.deepEqual(mountsHere(), before);
  assert.deepEqual(readdirSync(victim), ['file']);
  assert.equal(readFileSync(join(victim, 'file'), 'utf8'), 'untouched');
  assert.equal(swapper.pid > 0, true);
});

test('CVE-2024-23651: the part of another root that is mounted cannot lie outside, however it is swapped', async () => {
  let said = '';
  await using swapper = await box.runtime.start(
    box.spec(['swapper', '/s/d', '/s/l'], { volumes: [sharedAt('/s')] }),
    { kind: 'capture', onOutput: (_, data) => (said += Buffer.from(data).toString()) },
    { signal },
  );
  while (said === '') await new Promise((resolve) => setTimeout(resolve, 1));
  for (let n = 0; n < 200; n += 1) {
    const volumes: ContainerMount[] = [
      {
        kind: 'assembled',
        mounts: [{ kind: 'bind', source: shared, readonly: false }],
        source: '/d',
        target: '/part',
        readonly: false,
      },
    ];
    const outcome = await box
      .sh('ls /part; echo evil > /part/written', { volumes })
      .catch((error: unknown) => error);
    if (!isTsbuildError(outcome, 'CONTAINER_START_FAILED'))
      assert.ok(!JSON.stringify(outcome).includes('"stdout":"file'), JSON.stringify(outcome));
  }
  assert.equal(said, 'ready\n', 'it swapped all the time');
  assert.deepEqual(readdirSync(victim), ['file']);
  assert.equal(swapper.pid > 0, true);
});

test('CVE-2021-30465: a target that is a symlink stays inside the root', async () => {
  symlinkSync(victim, join(box.root, 'link'));
  symlinkSync('/../../tmp', join(box.root, 'inner'));
  const tmpfs = (target: string): ContainerMount => ({ kind: 'tmpfs', target, mode: 0o755 });
  // The root is put together in sight of the host's mounts: what leads out of it would be mounted on the host.
  const before = mountsHere();
  await box.sh('echo in > /link/f', { volumes: [tmpfs('/link')] }).catch(() => undefined);
  assert.deepEqual(readdirSync(victim), ['file']);
  const { stdout } = await box.sh('echo in > /inner/f; cat /tmp/f', { volumes: [tmpfs('/inner')] });
  assert.equal(stdout, 'in\n');
  assert.deepEqual(mountsHere(), before);
});

/** Where something is mounted at places that this test knows; what others mount meanwhile is theirs. */
function mountsHere(): readonly string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return points.filter((point) => point === '/tmp' || point.startsWith(box.directory));
}

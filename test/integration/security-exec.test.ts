/** Attacks of a running container on processes that are started in it later, tried for real. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { execTarget } from '../../src/runtime/process-namespaces.ts';
import type { Container, ExecSpec } from '../../src/runtime/runtime.ts';
import { compileInto, launchDirectly } from './security-launch.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

/**
 * Waits for the pids that come next, and tries to get at each of them while it is still the launcher: at its
 * program, its descriptors, its root, or by ptrace. Prints what it got.
 */
const CATCHER = `
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
static int is_launcher(int pid)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
	close(fd);
	return n > 0 && !strncmp(name, "tsbuild-launch", 14);
}
int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (int next = getpid() + 1;;) {
		int ahead = 0;
		while (ahead < 4 && kill(next + ahead, 0) < 0 && errno == ESRCH)
			ahead++;
		if (ahead == 4)
			continue;
		next += ahead;
		char path[64], target[256];
		const char *const names[] = { "exe", "root", "cwd", "fd/0" };
		while (kill(next, 0) == 0 || errno == EPERM) {
			for (int i = 0; i < 4; i++) {
				snprintf(path, sizeof path, "/proc/%d/%s", next, names[i]);
				ssize_t n = readlink(path, target, sizeof target - 1);
				if (n >= 0 && is_launcher(next))
					printf("caught %s\\n", names[i]);
			}
			if (ptrace(PTRACE_SEIZE, next, 0, 0) == 0) {
				ptrace(PTRACE_INTERRUPT, next, 0, 0);
				waitpid(next, NULL, __WALL);
				if (is_launcher(next))
					puts("caught by ptrace");
				ptrace(PTRACE_DETACH, next, 0, 0);
				break;
			}
		}
		next++;
	}
}
`;

let box: Sandbox;
let container: Container;
let said = '';
const user = { uid: 1000, gid: 1000, additionalGids: [] };
const silent = { kind: 'capture', onOutput: () => undefined } as const;
const signal = new AbortController().signal;

before(async () => {
  box = openSandbox();
  compileInto(box.root, 'catcher', CATCHER);
  container = await box.runtime.start(
    { ...box.spec(['catcher']), seccomp: 'unconfined' },
    { kind: 'capture', onOutput: (_, data) => (said += Buffer.from(data).toString()) },
    { signal },
  );
  while (!said.includes('ready')) await new Promise((resolve) => setTimeout(resolve, 5));
});

after(async () => {
  await container[Symbol.asyncDispose]();
  await box.close();
});

function execSpec(args: readonly string[], more: Partial<ExecSpec> = {}): ExecSpec {
  return { ...box.spec(args, { user }), target: execTarget(container.pid), ...more };
}

async function exec(spec: ExecSpec): Promise<void> {
  await using process = await box.runtime.exec(
    spec,
    { kind: 'capture', onOutput: () => undefined },
    { signal },
  );
  await process.exited;
}

test('CVE-2016-9962, CVE-2019-5736: nobody inside gets hold of a process before it is its program', async () => {
  for (let n = 0; n < 300; n += 1)
    await exec(execSpec(['true'], n % 2 === 0 ? {} : { user: { uid: 0, gid: 0, additionalGids: [] } }));
  assert.equal(said, 'ready\n');
});

test('CVE-2022-29162, CVE-2022-2990: exec brings neither inheritable capabilities nor groups of its caller', async () => {
  const script = 'grep -E "^(Groups|CapInh|CapPrm|CapAmb|CapBnd)" /proc/self/status; id -G';
  const { stdout } = await launchDirectly(box, execSpec(['sh', '-c', script]), {
    wrapper: [
      'setpriv',
      '--groups',
      '4242',
      '--inh-caps',
      '+chown,+sys_admin',
      '--ambient-caps',
      '+sys_admin',
      '--',
    ],
  });
  assert.deepEqual(
    stdout
      .replaceAll('\t', ' ')
      .trim()
      .split('\n')
      .map((line) => line.trim()),
    [
      'Groups:',
      'CapInh: 0000000000000000',
      'CapPrm: 0000000000000000',
      'CapBnd: 00000000a80425fb',
      'CapAmb: 0000000000000000',
      '1000',
    ],
  );
});

test('CVE-2024-21626: exec leaks no descriptor and takes none for a working directory', async () => {
  const victim = mkdtempSync(join(box.directory, 'victim-'));
  const fd = openSync(victim, 'r');
  const descriptors = [fd, fd, fd];
  try {
    const { stdout } = await launchDirectly(box, execSpec(['sh', '-c', 'ls /proc/$$/fd; :']), {
      descriptors,
    });
    assert.equal(stdout, '0\n1\n2\n');
    for (const cwd of ['/proc/self/fd/5', '/proc/self/fd/6/made', '/proc/self/cwd/made']) {
      const ended = await launchDirectly(box, execSpec(['ls'], { cwd }), { descriptors });
      assert.equal(ended.started, false, `${cwd}: ${ended.stdout}`);
    }
    assert.deepEqual(readdirSync(victim), []);
    for (let n = 3; n < 20; n += 1)
      await assert.rejects(exec(execSpec(['pwd'], { cwd: `/proc/self/fd/${n}` })), (error) =>
        isTsbuildError(error, 'CONTAINER_START_FAILED'),
      );
  } finally {
    closeSync(fd);
  }
});

test('a pid that is another process by now is not entered', async () => {
  await using other = await box.runtime.start(box.spec(['sleep', '60']), silent, { signal });
  const target = execTarget(other.pid);
  await exec(execSpec(['true'], { target }));
  await assert.rejects(
    exec(execSpec(['true'], { target: { ...target, started: execTarget(container.pid).started } })),
    (error) => isTsbuildError(error, 'CONTAINER_START_FAILED'),
  );
});

/**
 * A container's start by itself, `true` in a busybox root, in turns with what bounds it from below (clone3 with the
 * same namespaces and exec, a C program) and with other runtimes. Ours has a cgroup and the default filter, and is
 * timed from the call of the library to the end of the process.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { locateNative } from '../native/locate.ts';
import { startTimeOf } from '../src/base/owner.ts';
import { createStepCgroups } from '../src/engine/step-cgroups.ts';
import { probeMachine } from '../src/engine/machine.ts';
import { createContainerSpec } from '../src/runtime/default-spec.ts';
import { createRuntime } from '../src/runtime/launch-runtime.ts';

export const ROUNDS = 60;

/** One line in, one start, one line with its milliseconds out. */
const FLOOR = `
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char line[64];
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		struct timespec a, b;
		struct clone_args args = { .exit_signal = SIGCHLD, .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
				CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP };
		clock_gettime(CLOCK_MONOTONIC, &a);
		pid_t pid = syscall(SYS_clone3, &args, sizeof args);
		if (pid == 0) {
			execl(argv[1], "true", NULL);
			_exit(127);
		}
		int status;
		waitpid(pid, &status, 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (pid < 0 || status != 0)
			return 1;
		printf("%f\\n", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
	}
	return 0;
}
`;

interface Starter extends AsyncDisposable {
  readonly name: string;
  /** Milliseconds of one start. */
  start(round: number): Promise<number>;
}

/** A program that starts something for each line it gets, and answers with a line: its own time, or anything. */
function byLine(name: string, program: string, args: readonly string[]): Starter {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let answer: (line: string) => void = () => undefined;
  let gone: (error: Error) => void = () => undefined;
  child.stdout.on('data', (data: Buffer) => answer(data.toString().trim()));
  child.once('exit', () => gone(new Error(`${name} ended`)));
  return {
    name,
    async start(round) {
      const began = performance.now();
      const line = await new Promise<string>((resolve, reject) => {
        [answer, gone] = [resolve, reject];
        child.stdin.write(`b${process.pid}-${round}\n`);
      });
      const own = Number(line);
      return Number.isNaN(own) ? performance.now() - began : own;
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      gone = () => undefined;
      child.stdin.end();
      await ended;
    },
  };
}

/** It executes the same program. */
function floor(directory: string, root: string): Starter {
  const path = join(directory, 'floor');
  execFileSync('gcc', ['-static', '-O2', '-D_GNU_SOURCE', '-x', 'c', '-o', path, '-'], { input: FLOOR });
  return byLine('floor', path, [join(root, 'bin/true')]);
}

function ours(directory: string, root: string): Starter {
  const machine = probeMachine(directory, {
    os: 'linux',
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
  });
  const runtime = createRuntime({ launcher: locateNative('tsbuild-launch'), machine });
  let serial = 0;
  // why: another tsbuild would sweep the cgroup of an owner that it does not find.
  const owner = `${process.pid}.${startTimeOf(process.pid) ?? ''}`;
  const host = { now: () => Date.now(), unique: () => `${owner}.${(serial += 1)}` };
  const cgroups = createStepCgroups({ host, limits: {}, driver: 'cgroupfs' });
  const stdio = { kind: 'capture', onOutput: () => undefined } as const;
  return {
    name: 'tsbuild',
    async start() {
      const began = performance.now();
      const spec = {
        ...createContainerSpec({
          id: host.unique(),
          mounts: [{ kind: 'bind', source: root, readonly: false }],
          args: ['true'],
          env: ['PATH=/bin'],
          cwd: '/',
          user: { uid: 0, gid: 0, additionalGids: [] },
          home: '/',
          hostname: 'bench',
          network: 'none',
          terminal: false,
          resolvConf: '',
          extraHosts: [],
        }),
        cgroup: await cgroups.prepare({ privileged: false }),
      };
      await using container = await runtime.start(spec, stdio, { signal: new AbortController().signal });
      await container.exited;
      const time = performance.now() - began;
      await cgroups.end(spec, true);
      return time;
    },
    async [Symbol.asyncDispose]() {
      await cgroups.close();
      await runtime[Symbol.asyncDispose]();
    },
  };
}

/** crun refuses hybrid cgroups unless the v2 mount looks empty, which a private mount namespace can do. */
function peer(directory: string, program: string, config: string): Starter | undefined {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return undefined;
  const bundle = join(directory, program);
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), config);
  const hide = program === 'crun' ? 'mount -t tmpfs none /sys/fs/cgroup/unified 2>/dev/null;' : '';
  const script = `${hide} cd ${bundle}; while read id; do ${program} run $id </dev/null && echo done; done`;
  return byLine(program, 'unshare', ['-m', 'sh', '-c', script]);
}

/** Milliseconds of every round by name; peers that are not installed are left out. */
export async function measureStarts(
  directory: string,
  root: string,
  config: string,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const starters = [
    ours(directory, root),
    floor(directory, root),
    peer(directory, 'crun', config),
    peer(directory, 'runc', config),
  ].filter((starter) => starter !== undefined);
  const times = new Map(starters.map(({ name }) => [name, [] as number[]]));
  try {
    for (let round = -5; round < ROUNDS; round += 1)
      for (const starter of starters) {
        const time = await starter.start(round);
        if (round >= 0) times.get(starter.name)?.push(time);
      }
  } finally {
    for (const starter of starters) await starter[Symbol.asyncDispose]();
  }
  return times;
}

/** A busybox root in a temporary directory, and a runtime whose containers are collected: output and end. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { locateNative } from '../../native/locate.ts';
import type { Mount } from '../../native/mount.ts';
import { createContainerSpec, type ContainerInput } from '../../src/runtime/default-spec.ts';
import { createRuntime } from '../../src/runtime/launch-runtime.ts';
import type { Machine } from '../../src/runtime/layout.ts';
import type { ContainerSpec, ExitStatus, Runtime } from '../../src/runtime/runtime.ts';

export interface Sandbox {
  /** A directory of the test's own. */
  readonly directory: string;
  /** The busybox root: bin with all applets, etc, tmp, root. */
  readonly root: string;
  readonly machine: Machine;
  readonly runtime: Runtime;
  spec(args: readonly string[], more?: Partial<ContainerInput>): ContainerSpec;
  /** Runs to the end. */
  run(spec: ContainerSpec): Promise<Outcome>;
  sh(script: string, more?: Partial<ContainerInput>): Promise<Outcome>;
  close(): Promise<void>;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: ExitStatus;
  readonly warnings: readonly string[];
}

export function makeBusyboxRoot(root: string): void {
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root'])
    mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  execFileSync(join(root, 'bin/busybox'), ['--install', join(root, 'bin')]);
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');
}

export function openSandbox(): Sandbox {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-runtime-'));
  const root = join(directory, 'root');
  const mountPoint = join(directory, 'point');
  makeBusyboxRoot(root);
  mkdirSync(mountPoint);
  const machine: Machine = {
    arch: process.arch === 'arm64' ? 'arm64' : 'amd64',
    cgroup2: false,
    bounding: BigInt(`0x${/^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`),
    mountPoint,
  };
  const runtime = createRuntime({ launcher: locateNative('tsbuild-launch'), machine });
  const bind: Mount = { kind: 'bind', source: root, readonly: false };
  let count = 0;
  const sandbox: Sandbox = {
    directory,
    root,
    machine,
    runtime,
    spec: (args, more = {}) =>
      createContainerSpec({
        id: `test-${(count += 1)}`,
        mounts: [bind],
        args,
        env: [],
        cwd: '/',
        user: { uid: 0, gid: 0, additionalGids: [] },
        home: '/root',
        hostname: 'box',
        network: 'host',
        terminal: false,
        resolvConf: '',
        extraHosts: [],
        ...more,
      }),
    run: (spec) => collect(runtime, spec),
    sh: (script, more) => sandbox.run(sandbox.spec(['sh', '-c', script], more)),
    async close() {
      await runtime[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return sandbox;
}

export async function collect(runtime: Runtime, spec: ContainerSpec): Promise<Outcome> {
  const output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const warnings: string[] = [];
  await using container = await runtime.start(
    spec,
    { kind: 'capture', onOutput: (stream, data) => void output[stream].push(data) },
    { signal: new AbortController().signal, onWarning: (message) => void warnings.push(message) },
  );
  const status = await container.exited;
  return {
    stdout: Buffer.concat(output.stdout).toString(),
    stderr: Buffer.concat(output.stderr).toString(),
    status,
    warnings,
  };
}

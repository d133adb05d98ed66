/** Building and running the fuzz targets of native/fuzz, with real plans and messages to start from. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeNetOps } from '../native/net-plan.ts';
import { encodePlan } from '../native/plan.ts';
import { createContainerSpec } from '../src/runtime/default-spec.ts';
import { layOut } from '../src/runtime/layout.ts';

/** With what each needs of the launcher's sources. */
const SOURCES = {
  plan: ['plan.c'],
  settings: ['settings.c', 'plan.c'],
  net: ['net-list.c', 'plan.c'],
  dns: ['dns-message.c'],
  texts: ['home.c', 'state.c', 'plan.c'],
} as const;

export type FuzzTarget = keyof typeof SOURCES;
export const FUZZ_TARGETS: readonly FuzzTarget[] = ['plan', 'settings', 'net', 'dns', 'texts'];

export function isFuzzTarget(name: string): name is FuzzTarget {
  return Object.hasOwn(SOURCES, name);
}

export function hasClang(): boolean {
  return spawnSync('clang', ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Compiles all targets of the package at `root` into `output`. */
export function buildFuzzers(root: string, output: string): void {
  mkdirSync(output, { recursive: true });
  for (const name of FUZZ_TARGETS)
    execFileSync('clang', [
      ...['-std=gnu11', '-g', '-O1', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'],
      ...['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'],
      ...['-o', join(output, name), join(root, 'native/fuzz', `${name}.c`)],
      ...SOURCES[name].map((file) => join(root, 'native/launch', file)),
    ]);
}

export interface FuzzResult {
  readonly runs: number;
  /** What was found, and where the input lies; undefined: nothing. */
  readonly complaint: string | undefined;
}

export function runFuzzer(output: string, name: FuzzTarget, limits: readonly string[]): FuzzResult {
  const corpus = join(output, `${name}-corpus`);
  mkdirSync(corpus, { recursive: true });
  for (const [index, seed] of seedsOf(name).entries()) writeFileSync(join(corpus, `seed-${index}`), seed);
  const ended = spawnSync(
    join(output, name),
    [
      ...limits,
      '-max_len=16384',
      '-timeout=10',
      `-artifact_prefix=${output}/${name}-`,
      '-print_final_stats=1',
      corpus,
    ],
    { encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  const runs = Number(/number_of_executed_units:\s*(\d+)/.exec(ended.stderr)?.[1] ?? 0);
  const complaint = ended.status === 0 ? undefined : (ended.error?.message ?? ended.stderr.slice(-4000));
  return { runs, complaint };
}

function seedsOf(name: FuzzTarget): readonly Uint8Array[] {
  switch (name) {
    case 'plan':
      return [seedPlan()];
    case 'net':
      return [
        encodeNetOps([
          { op: 'createNamespace', path: '/run/netns/x' },
          { op: 'bridge', name: 'br', mac: Buffer.alloc(6), mtu: 1500, alias: 'a' },
          { op: 'up', side: 'inside', name: 'lo' },
        ]),
      ];
    case 'dns':
      return [Buffer.from('\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x04test\0\0\x01\0\x01', 'latin1')];
    case 'texts':
      return [Buffer.from('root:x:0:0::/root:/bin/sh\nbob:x:1:1::/home/bob:\n')];
    case 'settings':
      return [seedSettings()];
  }
}

/** u32 …, u64 log size, strings: as launch/settings.c reads it. */
function seedSettings(): Uint8Array {
  const numbers = Buffer.alloc(40);
  for (const [index, value] of [0, 1, 3, 0, 15, 10, 2, 1].entries()) numbers.writeUInt32LE(value, index * 4);
  return Buffer.concat([numbers, Buffer.from('/container\0/oom\0/bin/true\0')]);
}

function seedPlan(): Uint8Array {
  const spec = createContainerSpec({
    id: 'x',
    mounts: [{ kind: 'overlay', lower: ['/a', '/b'], upper: '/u', work: '/w' }],
    args: ['a', 'b'],
    env: ['C=d'],
    cwd: '/',
    user: { uid: 0, gid: 0, additionalGids: [1, 2, 3] },
    home: '/',
    hostname: 'h',
    network: 'none',
    terminal: true,
    resolvConf: '',
    extraHosts: [],
    volumes: [{ kind: 'tmpfs', target: '/x', mode: 0o755, size: 5 }],
  });
  const machine = { arch: 'amd64', cgroup2: true, bounding: (1n << 41n) - 1n, mountPoint: '/m' };
  // why: a long filter would take all the mutations.
  return encodePlan(
    layOut({ ...spec, seccomp: 'unconfined', oomScoreAdj: 5, noNewPrivileges: true }, machine),
  );
}

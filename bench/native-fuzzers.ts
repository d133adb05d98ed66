/** Building and running the fuzz targets of native/fuzz, with real plans and messages to start from. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { encodeNetOps } from '../native/net-plan.ts';
import { encodeFrame, encodeU32 } from '../native/frames.ts';
import { encodePlan } from '../native/plan.ts';
import type { HookCall } from '../native/plan-ops.ts';
import { createListing, encodeListed } from '../src/layer/listing.ts';
import { EARLIER_SIZE, PackPlan, type PackTree } from '../src/layer/pack-plan.ts';
import { encodeHeader, padding, type TarEntry, type TarEntryType } from '../src/layer/tar-header.ts';
import type { EntryStat } from '../src/layer/tree.ts';
import { createContainerSpec } from '../src/runtime/default-spec.ts';
import { layOut } from '../src/runtime/layout.ts';

/** What of the tree engine reads tars. */
export const TAR_SOURCES = ['input', 'meta', 'name', 'read'].map((part) => `tree/tar-${part}.c`);

/** What reads plans of the launcher. */
export const PLAN_SOURCES = ['launch/plan.c', 'launch/plan-start.c', 'erofs-mount.c'];

/** With what each needs of the sources below native/. */
const SOURCES = {
  plan: PLAN_SOURCES,
  settings: ['launch/settings.c', ...PLAN_SOURCES],
  net: ['launch/net-list.c', ...PLAN_SOURCES],
  dns: ['launch/dns-message.c'],
  texts: ['launch/home.c', 'launch/notify-words.c', 'launch/state.c', ...PLAN_SOURCES],
  tar: [...TAR_SOURCES, 'tree/sha256.c'],
  index: [
    ...TAR_SOURCES,
    ...['sha256', 'arena', 'xattr-sets', 'below'].map((part) => `tree/${part}.c`),
    ...['tree', 'apply', 'merge'].map((part) => `tree/layer-${part}.c`),
    ...['layout', 'write'].map((part) => `tree/erofs-${part}.c`),
  ],
  ports: ['launch/ports-list.c', 'launch/keys.c', ...PLAN_SOURCES],
  names: ['launch/dns-names.c', 'launch/dns-message.c'],
  clients: ['launch/clients.c', 'launch/loop.c'],
  hooks: PLAN_SOURCES,
  requests: [
    'walk-job',
    'pack-job',
    'pack-plan',
    'pack-expand',
    'pack-units',
    'request',
    'listing',
    'listing-read',
    'tar-write',
    'tar-name',
  ].map((part) => `tree/${part}.c`),
  inflate: ['tree/inflate.c', 'tree/inflate-table.c', 'tree/decompress-gzip.c'],
} as const;

export type FuzzTarget = keyof typeof SOURCES;
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  'plan',
  'settings',
  'net',
  'dns',
  'texts',
  'tar',
  'index',
  'ports',
  'names',
  'clients',
  'hooks',
  'requests',
  'inflate',
];

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
      ...SOURCES[name].map((file) => join(root, 'native', file)),
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
    case 'hooks':
      return [seedPlan(), seedOciPlan()];
    case 'ports':
      return [seedPorts(), Buffer.from('\x011011\0ab\x10\x11cd\x10\x10\x11', 'latin1')];
    case 'names':
      return [
        Buffer.from(
          'web.net\0upstream 10.0.0.53\nupstream fd00::53\nleases b /nowhere\n\0id\nowner\nweb\nother\n',
        ),
      ];
    case 'clients':
      return [seedClients()];
    case 'requests':
      return seedRequests();
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
      return ['root:x:0:0::/root:/bin/sh\nbob:x:1:1::/home/bob:\n', 'MAINPID=1\nREADY=1\nSTATUS=up'].map(
        (text) => Buffer.from(text),
      );
    case 'settings':
      return [seedSettings()];
    case 'tar':
    case 'index':
      return seedTars();
    case 'inflate':
      return seedStreams();
  }
}

/** A root whose ids are mapped, a mount of another container's, hooks of all kinds, a terminal that is handed on. */
function seedOciPlan(): Uint8Array {
  const subject = 'seed';
  const hook = (phase: number): HookCall => ({
    phase,
    timeoutMs: 5,
    path: '/h',
    args: ['h', 'x'],
    env: ['A=b'],
  });
  const mount = { kind: 'overlay', lower: ['/a', '/b'], upper: '/u/u', work: '/u/w' } as const;
  return encodePlan([
    { op: 'namespaces', subject, flags: 0x20000 },
    { op: 'idmap', subject, uids: '0 100 10\n', gids: '0 100 10\n' },
    { op: 'rootTree', subject, mount, idmap: 1, uid: 100, gid: 100 },
    { op: 'foreignTree', subject, pid: 7, started: 9n, path: '/dev/shm' },
    { op: 'console', subject, path: '/socket' },
    { op: 'hookStreams', subject, stdout: '/tmp/out', stderr: '' },
    { op: 'streamsOwner', subject, uid: 1000, gid: 1000, files: false },
    {
      op: 'cgroupRealtime',
      subject,
      directory: '/cgroup/a/b',
      parent: '/cgroup/a',
      runtime: 1000,
      period: 0,
    },
    { op: 'netDevice', subject, name: 'eth0', inside: 'eth1' },
    { op: 'notify', subject, path: '/notify', manager: '@manager' },
    ...[1, 2].map((phase) => ({ op: 'parentHook', subject, hook: hook(phase) }) as const),
    { op: 'state', subject, parts: ['{"status":"', '","pid":', '}'] },
    { op: 'root', subject, mount: { kind: 'tree', tree: 1 }, point: '/m' },
    { op: 'sync', subject, phase: 1 },
    { op: 'hook', subject, hook: hook(3) },
    { op: 'pivot', subject },
    { op: 'ready', subject },
    { op: 'exec', subject, args: ['a'], env: ['B=c'], candidates: ['/a'] },
  ]);
}

/** As `encodePorts` of native/monitor.ts writes them: one of each family. */
function seedPorts(): Uint8Array {
  const entry = (protocol: number, family: number): Buffer =>
    Buffer.concat([
      encodeU32(protocol),
      ...[80, 8080].map((port) => Buffer.concat([encodeU32(family), Buffer.alloc(16, 1), encodeU32(port)])),
    ]);
  return Buffer.concat([encodeU32(2), entry(6, 2), entry(17, 10)]);
}

/** Two sides connect and say whole and broken frames; see native/fuzz/clients.c. */
function seedClients(): Uint8Array {
  const step = (what: number, bytes: Uint8Array = Buffer.alloc(0)): Buffer =>
    Buffer.concat([Buffer.of(what, bytes.byteLength), bytes]);
  const frames = [5, 6, 7, 8].map((type) => encodeFrame(type, encodeU32(3)));
  return Buffer.concat([
    ...[step(0), step(1), ...frames.map((frame) => step(12, frame))],
    ...[step(13, Buffer.of(200, 0, 0)), step(8), step(4), step(13, encodeFrame(6, Buffer.alloc(90, 9)))],
  ]);
}

/** A walk of one directory, and a layer with a file of each source; see native/fuzz/requests.c. */
function seedRequests(): readonly Uint8Array[] {
  const text = (value: string): Buffer => Buffer.concat([encodeU32(value.length), Buffer.from(value)]);
  const walk = Buffer.concat([encodeU32(1, 1000, 0, 1, 0), text('d'), encodeU32(1, 3), text('.git')]);
  const pack = (writes: boolean): Buffer => {
    const plan = new PackPlan();
    const root = plan.root(0, 'p', 0);
    const put = (type: TarEntryType, size: number, path: string): void =>
      plan.entry(type, 0o644, 0, 0, 0, size, Buffer.from(path), path.length);
    put('directory', 0, 'dir');
    put('file', 3, 'dir/inline');
    plan.inline(Buffer.from('abc'));
    plan.earlier(1, seedEarlier());
    plan.tree({ ...seedTree(), root });
    put('file', 4, 'range');
    plan.range(1, 0);
    put('symlink', 0, 'link');
    plan.link('dir');
    put('char', 0, 'node');
    plan.device(1, 3);
    return Buffer.concat(plan.encode(writes));
  };
  return [Buffer.of(0, ...walk), Buffer.of(1, ...pack(true)), Buffer.of(1, ...pack(false))];
}

function seedEarlier(): Uint8Array {
  const lying = Buffer.alloc(EARLIER_SIZE, 1);
  lying.writeDoubleLE(512, 32);
  lying.writeDoubleLE(4, 40);
  return lying;
}

/** A directory with a file whose digest is known and lies in an earlier layer, one in memory and one to read; a link, a device. */
function seedTree(): Omit<PackTree, 'root'> {
  const stat = (type: EntryStat['type'], size = 0): EntryStat => ({
    ...{ type, mode: 0o644, uid: 1, gid: 2, size, nlink: 1, dev: 1, ino: 7, major: 1, minor: 3 },
    ...{ mtimeNs: 5_000_000_000n, ctimeNs: 6_000_000_000n, bornNs: 0n },
  });
  const builder = createListing();
  const records: readonly (readonly [number, string, EntryStat, string])[] = [
    [0, 'd', stat('directory'), ''],
    [1, 'known', stat('file', 4), ''],
    [1, 'memory', stat('file', 2), ''],
    [1, 'read', stat('file', 9), ''],
    [0, 'l', stat('symlink', 3), 'd/x'],
    [0, 'n', stat('char'), ''],
  ];
  for (const [depth, name, each, link] of records) {
    const capability = name === 'read' ? Buffer.from('cap') : undefined;
    builder.add(encodeListed({ depth, name, stat: each, link, capability, fileSystem: 0 }));
  }
  return {
    ...{ target: 't/', listing: builder.listing(records.length, []), owner: { uid: 3, gid: 4 }, mode: 0o600 },
    ...{
      maxMtime: 4,
      known: Uint8Array.of(1, 1, 0, 0, 0, 0),
      digests: Buffer.alloc(32 * 6, 1),
      wantsDigests: true,
    },
    contents: new Map([[1, Buffer.from('ab')]]),
  };
}

function seedTars(): readonly Uint8Array[] {
  const entry: TarEntry = { path: 'a/b', type: 'file', mode: 0o644, uid: 1, gid: 2, size: 3, mtime: 4 };
  const content = Buffer.concat([Buffer.from('abc'), padding(3)]);
  const block = encodeHeader(entry);
  const long = encodeHeader({
    ...entry,
    path: `${'d/'.repeat(150)}\u00ff`,
    xattrs: new Map([['user.x', Buffer.from('1')]]),
    uid: 1 << 30,
    mtime: -5,
  });
  const link = encodeHeader({ ...entry, path: 'l', type: 'hardlink', size: 0, linkname: '../a/b' });
  const device = encodeHeader({ ...entry, path: 'n', type: 'char', size: 0, major: 5, minor: 1 });
  const empty = { ...entry, size: 0 };
  const names = ['a/.wh.b', 'a/.wh..wh..opq', 'd/x', 'l'].map((path) => encodeHeader({ ...empty, path }));
  const soft = encodeHeader({ ...empty, path: 'a/s', type: 'symlink', linkname: '/d' });
  return [Buffer.concat([block, content, link, device, soft, ...names]), Buffer.concat([long, content])];
}

/** All kinds of blocks; see native/fuzz/inflate.c. */
function seedStreams(): readonly Uint8Array[] {
  const text = Buffer.from('a text with words that come again and words that do not '.repeat(40));
  const streams = [{ level: 0 }, { level: 9 }, { strategy: constants.Z_FIXED }].map((options) =>
    gzipSync(text, options),
  );
  return [...streams, Buffer.concat(streams)].flatMap((stream) =>
    [0, 30, 255].map((piece) => Buffer.concat([Buffer.of(piece), stream])),
  );
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
    mounts: [
      {
        kind: 'overlay',
        lower: ['/a', { index: '/i', tars: ['/t'], device: 'loop', attached: true }, '/b'],
        upper: '/u',
        work: '/w',
      },
    ],
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

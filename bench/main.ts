/**
 * `npm run bench -- NAME`: ours and a peer in turns, in one run, on the same work. Prints one JSON object.
 *
 * Whole processes are timed (spawn to exit), so start-up counts. A peer that is missing is said by name.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removePlace } from './remove-place.ts';
import { spawn } from 'node:child_process';
import { LIMIT_MS, LINES, measureFrontend } from './frontend.ts';
import { measureStarts } from './start-library.ts';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');

interface Workbench {
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
  tsbuild(...args: readonly string[]): void;
  run(program: string, ...args: readonly string[]): void;
}

/** One thing to time; `prepare` is not. */
interface Contender {
  readonly name: string;
  readonly program: string;
  prepare?(round: number): void;
  work(round: number): void;
  /** How many units of work one round holds. */
  readonly units?: number;
}

interface Bench {
  readonly rounds: number;
  readonly what: string;
  contenders(bench: Workbench): readonly Contender[];
}

const BENCHES: Readonly<Record<string, Bench>> = {
  start: {
    rounds: 30,
    what: 'one container start of `true` in busybox, whole process',
    contenders: (bench) => {
      const rootfs = join(bench.directory, 'root');
      writeFileSync(join(bench.directory, 'config.json'), crunConfig(rootfs));
      return [
        {
          name: 'tsbuild run',
          program: 'node',
          work: () => bench.tsbuild('run', '--network', 'none', 'bench:1', 'true'),
        },
        {
          name: 'crun run',
          program: 'crun',
          // crun refuses hybrid cgroups unless the v2 mount looks empty, which a private mount namespace can do.
          work: (round) =>
            bench.run(
              'unshare',
              '-m',
              'sh',
              '-c',
              `mount -t tmpfs none /sys/fs/cgroup/unified 2>/dev/null; cd ${bench.directory} && exec crun run bench${round}`,
            ),
        },
        { name: 'node -e 0', program: 'node', work: () => bench.run(process.execPath, '-e', '0') },
      ];
    },
  },
  'run-steps': {
    rounds: 5,
    what: '20 trivial RUN steps, per step',
    contenders: (bench) => {
      const context = contextOf(bench, [
        'FROM bench:1',
        ...Array.from({ length: 20 }, (_, index) => `RUN echo ${index} > /f${index}`),
      ]);
      return [
        {
          name: 'tsbuild',
          program: 'node',
          units: 20,
          work: () => bench.tsbuild('--no-cache', '-q', context),
        },
        {
          name: 'buildah',
          program: 'buildah',
          units: 20,
          work: () => buildah(bench, context, '--layers', '--no-cache'),
        },
      ];
    },
  },
  cached: {
    rounds: 10,
    what: 'a build of which everything is cached',
    contenders: (bench) => {
      const context = contextOf(bench, [
        'FROM bench:1 AS a',
        'RUN echo 1 > /1',
        'COPY . /c',
        'FROM bench:1',
        'COPY --from=a /1 /2',
        'CMD ["true"]',
      ]);
      bench.tsbuild('-q', context);
      if (has('buildah')) buildah(bench, context, '--layers');
      return [
        { name: 'tsbuild', program: 'node', work: () => bench.tsbuild('-q', '-t', 'cached', context) },
        {
          // What asks for a file is answered by no note.
          name: 'tsbuild, every step looked up',
          program: 'node',
          work: () => bench.tsbuild('-q', '--iidfile', join(bench.directory, 'iid'), '-t', 'cached', context),
        },
        { name: 'buildah', program: 'buildah', work: () => buildah(bench, context, '--layers') },
        { name: 'node -e 0', program: 'node', work: () => bench.run(process.execPath, '-e', '0') },
      ];
    },
  },
  copy: {
    rounds: 3,
    what: 'COPY of 20,000 files (80 MB), nothing cached',
    contenders: (bench) => {
      const context = contextOf(bench, ['FROM scratch', 'COPY tree /tree']);
      for (let d = 0; d < 200; d += 1) {
        mkdirSync(join(context, `tree/d${d}`), { recursive: true });
        for (let f = 0; f < 100; f += 1)
          writeFileSync(join(context, `tree/d${d}/f${f}`), `${d} ${f} `.repeat(500));
      }
      const state = (round: number): string => join(bench.directory, `copy-${round}`);
      return [
        {
          name: 'tsbuild',
          program: 'node',
          work: (round) => bench.run(CLI, '--root', state(round), '-q', context),
        },
        {
          name: 'tar | sha256sum',
          program: 'tar',
          work: () =>
            bench.run('sh', '-c', `tar -C ${context} -c tree | tee ${bench.directory}/tree.tar | sha256sum`),
        },
        {
          name: 'buildah',
          program: 'buildah',
          work: () => buildah(bench, context, '--layers', '--no-cache'),
        },
      ];
    },
  },
  push: {
    rounds: 3,
    what: 'push of an image with an 80 MB layer, compression included',
    contenders: (bench) => {
      const registry = startRegistry(bench);
      cpSync('/usr/bin', join(bench.directory, 'payload'), {
        recursive: true,
        dereference: false,
        filter: (_, to) => !to.includes('/docker'),
      });
      const context = contextOf(bench, ['FROM scratch', 'COPY payload /payload', 'ARG N', 'LABEL n=$N']);
      execFileSync('sh', [
        '-c',
        `mkdir ${context}/payload && find ${bench.directory}/payload -type f -size -4000k | head -n 600 | xargs cp -t ${context}/payload`,
      ]);
      return [
        {
          name: 'tsbuild',
          program: 'node',
          prepare: (round) =>
            bench.run(
              CLI,
              '--root',
              join(bench.directory, `push-${round}`),
              '-q',
              '-t',
              `${registry}/ours/app:${round}`,
              context,
            ),
          work: (round) =>
            bench.run(
              CLI,
              '--root',
              join(bench.directory, `push-${round}`),
              'push',
              '-q',
              `${registry}/ours/app:${round}`,
            ),
        },
        {
          name: 'buildah',
          program: 'buildah',
          prepare: () => buildah(bench, context, '-t', 'localhost/push:1'),
          work: (round) =>
            bench.run(
              'buildah',
              ...buildahRoot(bench),
              'push',
              '-q',
              '--tls-verify=false',
              'localhost/push:1',
              `docker://${registry}/theirs${round}/app:1`,
            ),
        },
      ];
    },
  },
};

function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

function contextOf(bench: Workbench, lines: readonly string[]): string {
  const context = join(bench.directory, 'context');
  mkdirSync(context);
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
  return context;
}

function buildahRoot(bench: Workbench): readonly string[] {
  return ['--root', join(bench.directory, 'buildah'), '--runroot', join(bench.directory, 'buildah-run')];
}

function buildah(bench: Workbench, context: string, ...flags: readonly string[]): void {
  bench.run(
    'buildah',
    ...buildahRoot(bench),
    'build',
    '-q',
    '--isolation',
    'chroot',
    '--network',
    'host',
    '--pull=never',
    ...flags,
    context,
  );
}

function startRegistry(bench: Workbench): string {
  const port = 20000 + (process.pid % 20000);
  const home = join(bench.directory, 'registry');
  mkdirSync(home);
  writeFileSync(
    join(home, 'config.yml'),
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${home}/data } }\nhttp: { addr: "127.0.0.1:${port}" }\n`,
  );
  const child = spawn('docker-registry', ['serve', join(home, 'config.yml')], { stdio: 'ignore' });
  process.once('exit', () => child.kill('SIGKILL'));
  execFileSync('sleep', ['1']);
  return `127.0.0.1:${port}`;
}

function crunConfig(rootfs: string): string {
  const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
  const mounts = [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  ];
  return JSON.stringify({
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args: ['true'], env: ['PATH=/bin'], cwd: '/' },
    root: { path: rootfs },
    mounts,
    linux: { namespaces },
  });
}

function makeRoot(directory: string): string {
  const root = join(directory, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of ['sh', 'true', 'echo', 'cat']) symlinkSync('busybox', join(root, 'bin', applet));
  return root;
}

function openWorkbench(): Workbench {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-bench-'));
  const env = { ...process.env, TSBUILD_ROOT: join(directory, 'state') };
  const run = (program: string, ...args: readonly string[]): void => {
    const ended = spawnSync(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    if (ended.status !== 0)
      throw new Error(`${program} ${args.join(' ')}: ${ended.stderr.toString().slice(-2000)}`);
  };
  const root = makeRoot(directory);
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', join(directory, 'root.tar'), '.']);
  const bench: Workbench = { directory, env, run, tsbuild: (...args) => run(CLI, ...args) };
  bench.tsbuild('import', '--progress', 'quiet', join(directory, 'root.tar'), 'bench:1');
  if (has('buildah')) {
    const base = join(directory, 'base');
    mkdirSync(base);
    copyFileSync(join(directory, 'root.tar'), join(base, 'root.tar'));
    writeFileSync(join(base, 'Dockerfile'), 'FROM scratch\nADD root.tar /\n');
    buildah(bench, base, '-t', 'bench:1');
  }
  return bench;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function machine(): object {
  return {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory: totalmem(),
    kernel: release(),
    node: process.version,
  };
}

/** The first is ours. */
function summarize(times: ReadonlyMap<string, readonly number[]>): readonly object[] {
  const round = (value: number): number => Math.round(value * 100) / 100;
  const [first = []] = times.values();
  return [...times].map(([contender, values]) => ({
    name: contender,
    n: values.length,
    minMs: round(Math.min(...values)),
    medianMs: round(median(values)),
    maxMs: round(Math.max(...values)),
    oursToThis: round(median(first) / median(values)),
  }));
}

function measure(name: string, bench: Bench): object {
  const workbench = openWorkbench();
  try {
    const all = bench.contenders(workbench);
    const skipped = all
      .filter(({ program }) => !has(program) && program !== 'node')
      .map(({ program }) => program);
    const present = all.filter(({ program }) => !skipped.includes(program));
    const times = new Map(present.map((contender) => [contender.name, [] as number[]]));
    const failed: Record<string, string> = {};
    for (let round = 0; round < bench.rounds; round += 1)
      for (const contender of present) {
        if (contender.name in failed) continue;
        try {
          contender.prepare?.(round);
          const started = performance.now();
          contender.work(round);
          times.get(contender.name)?.push((performance.now() - started) / (contender.units ?? 1));
        } catch (error) {
          failed[contender.name] = error instanceof Error ? error.message : String(error);
        }
      }
    return {
      bench: name,
      what: bench.what,
      results: summarize(times),
      skipped,
      failed,
      machine: machine(),
    };
  } finally {
    if (existsSync(join(workbench.directory, 'buildah')))
      spawnSync('buildah', [...buildahRoot(workbench), 'rm', '-a'], { stdio: 'ignore' });
    spawnSync('umount', [join(workbench.directory, 'buildah/overlay')], { stdio: 'ignore' });
    removePlace(workbench.directory, CLI);
  }
}

/** Within this process, so that nobody's start-up counts. */
async function measureLibraryStarts(): Promise<object> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-bench-'));
  try {
    const root = makeRoot(directory);
    const times = await measureStarts(directory, root, crunConfig(root));
    return {
      bench: 'start-library',
      what: 'one container start of `true` in busybox, from the call of the library to the end of the process',
      results: summarize(times),
      machine: machine(),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** No process is started and nothing is compared: the frontend alone, against what it may take. */
async function measureFrontendAlone(): Promise<object> {
  const times = await measureFrontend();
  const round = (value: number): number => Math.round(value * 100) / 100;
  return {
    bench: 'frontend',
    what: `parsing and lowering a Dockerfile of ${LINES} lines, warm, in one process`,
    results: [
      {
        name: 'tsbuild',
        n: times.length,
        minMs: round(Math.min(...times)),
        medianMs: round(median(times)),
        maxMs: round(Math.max(...times)),
      },
    ],
    limitMs: LIMIT_MS,
    isWithinLimit: median(times) <= LIMIT_MS,
    machine: machine(),
  };
}

const [name = ''] = process.argv.slice(2);
const bench = BENCHES[name];
if (name === 'frontend') console.log(JSON.stringify(await measureFrontendAlone(), null, 2));
else if (name === 'start-library') console.log(JSON.stringify(await measureLibraryStarts(), null, 2));
else if (bench === undefined) {
  console.error(
    `usage: npm run bench -- ${[...Object.keys(BENCHES), 'frontend', 'start-library'].join('|')}`,
  );
  process.exitCode = 2;
} else {
  console.log(JSON.stringify(measure(name, bench), null, 2));
  process.exit();
}

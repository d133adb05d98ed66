/**
 * `npm run bench:cache -- [ROUNDS]`: an unchanged build of an app of ten steps on a machine that knows nothing, with
 * its cache in a registry behind a link of 100 Mbit/s and 20 ms (round trip; 40 ms as well), by tsbuild and by buildah.
 * Prints times of whole processes and the bytes that the link carried. Needs root, ip(8), docker-registry, buildah.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openShapedLink, type ShapedLink } from './shaped-link.ts';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');
const [rounds = '7'] = process.argv.slice(2);
const directory = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'tsbuild-cache-bench-'));

interface Run {
  readonly ms: number;
  readonly bytes: number;
}

function run(argv: readonly string[], quiet = false): string {
  const [program = '', ...args] = argv;
  const ended = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (ended.status !== 0 && !quiet) throw new Error(`${argv.join(' ')}:\n${ended.stdout}${ended.stderr}`);
  return ended.stdout + ended.stderr;
}

function timed(link: ShapedLink, argv: readonly string[]): Run & { readonly output: string } {
  link.bytes();
  const started = process.hrtime.bigint();
  const output = run([...link.near, ...argv]);
  const ms = Number(process.hrtime.bigint() - started) / 1e6;
  return { ms, bytes: link.bytes(), output };
}

/** Busybox, and 20 MB that nobody can compress: what a base image weighs. */
function makeBase(): string {
  const root = join(directory, 'base');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of ['sh', 'cat', 'dd', 'echo', 'mkdir', 'cp', 'head', 'true'])
    symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'ballast'), randomBytes(20 << 20));
  execFileSync('tar', ['-C', root, '-cf', join(directory, 'base.tar'), '.']);
  return join(directory, 'base.tar');
}

/** Two stages, ten steps, layers of some megabytes. */
function makeContext(base: string): string {
  const context = join(directory, 'context');
  mkdirSync(join(context, 'src'), { recursive: true });
  writeFileSync(join(context, 'package.json'), '{"name":"app","dependencies":{"express":"4"}}\n');
  for (let n = 0; n < 40; n += 1)
    writeFileSync(join(context, 'src', `${n}.js`), `module.exports = ${n};\n`.repeat(50));
  writeFileSync(
    join(context, 'Dockerfile'),
    [
      `FROM ${base} AS build`,
      'WORKDIR /app',
      'COPY package.json ./',
      'RUN head -c 8000000 /ballast > modules',
      'COPY src src',
      'RUN cat src/*.js > bundle.js',
      `FROM ${base}`,
      'RUN echo app:x:1000:1000 > /passwd',
      'WORKDIR /srv',
      'COPY --from=build /app/modules ./',
      'COPY --from=build /app/bundle.js ./',
      'RUN head -c 2000000 /ballast > assets',
      'ENV NODE_ENV=production',
      'CMD ["cat", "bundle.js"]',
    ].join('\n'),
  );
  return context;
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function row(name: string, rtt: number, runs: readonly Run[]): object {
  return {
    name,
    rttMs: rtt,
    medianMs: Math.round(median(runs.map(({ ms }) => ms))),
    minMs: Math.round(Math.min(...runs.map(({ ms }) => ms))),
    kilobytes: Number((median(runs.map(({ bytes }) => bytes)) / 1000).toFixed(1)),
  };
}

async function measure(rtt: number): Promise<readonly object[]> {
  const home = join(directory, `rtt-${rtt}`);
  mkdirSync(home);
  await using link = await openShapedLink(home, { delayMs: rtt / 2, bitsPerSecond: 100e6 });
  const { registry } = link;
  const base = `${registry}/base/app:1`;
  const insecure = ['--insecure-registry', registry];
  const seed = ['--root', join(home, 'seed'), ...insecure];
  const ours = (root: string, ...args: readonly string[]): readonly string[] => [
    CLI,
    'build',
    '--root',
    join(home, root),
    ...insecure,
    '--progress',
    'plain',
    ...args,
  ];
  const far = (...args: readonly string[]): string => run([...link.far, ...args]);
  far(CLI, 'import', '--root', join(home, 'seed'), '--progress', 'quiet', join(directory, 'base.tar'), base);
  far(CLI, 'push', ...seed, '--progress', 'quiet', base);
  const context = makeContext(base);
  const image = `${registry}/team/app:1`;
  const to = ['--cache-to', `type=registry,ref=${registry}/cache/app:main`];
  far(...ours('seed-build', '-t', image, '--push', ...to, context));
  const theirs = (root: string, ...args: readonly string[]): readonly string[] => [
    'buildah',
    '--root',
    join(home, root),
    '--runroot',
    join(home, `${root}-run`),
    ...args,
  ];
  const flags = ['build', '-q', '--tls-verify=false', '--isolation=chroot', '--layers'];
  const repository = `${registry}/cache/theirs`;
  far(...theirs('buildah-seed', ...flags, '--cache-to', repository, '--cache-from', repository, context));

  const results: Record<string, Run[]> = {
    'tsbuild --cache-from': [],
    'tsbuild --cache-from --push': [],
    'buildah --cache-from': [],
  };
  for (let round = 0; round < Number(rounds); round += 1) {
    const from = ['--cache-from', `${registry}/cache/app:main`];
    for (const [name, argv] of [
      ['tsbuild --cache-from', ours('fresh', '-t', 'app', ...from, context)],
      ['tsbuild --cache-from --push', ours('fresh', '-t', image, '--push', ...from, context)],
    ] as const) {
      const done = timed(link, argv);
      if (!done.output.includes('(0 executed')) throw new Error(done.output);
      results[name]?.push(done);
      rmSync(join(home, 'fresh'), { recursive: true, force: true });
    }
    const done = timed(link, theirs('fresh-b', ...flags, '--cache-from', repository, context));
    results['buildah --cache-from']?.push(done);
    rmSync(join(home, 'fresh-b'), { recursive: true, force: true });
    rmSync(join(home, 'fresh-b-run'), { recursive: true, force: true });
  }
  return Object.entries(results).map(([name, runs]) => row(name, rtt, runs));
}

try {
  makeBase();
  const rows = [...(await measure(20)), ...(await measure(40))];
  console.log(JSON.stringify({ rounds: Number(rounds), rows }, null, 2));
} finally {
  rmSync(directory, { recursive: true, force: true });
}

/**
 * `npm run bench:data -- NAME [--in DIR] [--rounds N] [--warm]`: what moves bytes, against the peers on the same machine
 * in one run. All states lie below DIR (default: the system's temporary directory). Prints a table.
 */
import { parseArgs } from 'node:util';
import { measureCompress } from './compress.ts';
import { measureCopy } from './copy.ts';
import { measureExpress } from './express.ts';
import { measureLayers } from './layers.ts';
import { tableOf, type Results } from './measure.ts';
import { measurePull } from './pull.ts';
import { measurePush } from './push.ts';
import { measureStart } from './start.ts';
import { measureSteps } from './steps.ts';
import { openWorkplace, type Workplace } from './workplace.ts';

interface Bench {
  readonly what: string;
  readonly measure: (place: Workplace, isCold: boolean) => Promise<Results>;
  /** Pairs of rows whose ratio is printed. */
  readonly ratios: readonly (readonly [string, string])[];
}

const BENCHES: Readonly<Record<string, Bench>> = {
  copy: {
    what: 'COPY of 50,000 files of 8 KiB',
    measure: measureCopy,
    ratios: [
      ['tsbuild, cold', 'tar and sha256sum'],
      ...['cold', 'one file changed', 'nothing changed'].flatMap((state) =>
        ['buildah', 'docker'].map((peer) => [`tsbuild, ${state}`, `${peer}, ${state}`] as const),
      ),
    ],
  },
  compress: { what: '512 MiB of a program, gzip by us and by pigz', measure: measureCompress, ratios: [] },
  express: {
    what: 'an express app in TypeScript, two stages',
    measure: measureExpress,
    ratios: [
      ['tsbuild, nothing changed', 'node -e 0'],
      ...['first', 'nothing changed', 'one source changed'].flatMap((state) =>
        ['buildah', 'docker'].map((peer) => [`tsbuild, ${state}`, `${peer}, ${state}`] as const),
      ),
    ],
  },
  layers: {
    what: 'a layer of 50,000 files of 8 KiB',
    measure: measureLayers,
    ratios: [
      ...['erofs, digest known', 'erofs, digest verified', 'overlay'].flatMap(
        (name) =>
          [
            [`${name}: ready to mount`, 'tar x'],
            [`${name}: reading all`, 'reading what tar unpacked'],
            [`${name}: removing`, 'rm -rf'],
          ] as const,
      ),
    ],
  },
  push: {
    what: 'a layer of 1 GiB of random bytes and one of 1 GiB of a program, built and pushed',
    measure: measurePush,
    ratios: ['built and pushed', 'after the last step'].flatMap((state) =>
      ['buildah', 'docker'].map((peer) => [`tsbuild, ${state}`, `${peer}, ${state}`] as const),
    ),
  },
  pull: {
    what: 'an image of five layers with up to 6,000 files each, from a docker-registry on the loopback',
    measure: measurePull,
    ratios: [
      ['tsbuild pull', 'docker pull'],
      ['tsbuild pull and run', 'docker pull and run'],
      ['tsbuild pull', 'buildah pull'],
    ],
  },
  start: {
    what: '`true` in busybox, from the shell',
    measure: measureStart,
    ratios: ['run', 'run, no network'].flatMap((state) =>
      ['podman', 'docker'].map((peer) => [`tsbuild ${state}`, `${peer} ${state}`] as const),
    ),
  },
  steps: {
    what: '20 trivial steps on a Debian base',
    measure: measureSteps,
    ratios: ['buildah', 'docker'].map((peer) => ['tsbuild, 20 steps', `${peer}, 20 steps`] as const),
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    in: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    warm: { type: 'boolean', default: false },
  },
});
const bench = BENCHES[positionals[0] ?? ''];
if (bench === undefined) {
  process.stderr.write(
    `usage: bench:data ${Object.keys(BENCHES).join('|')} [--in DIR] [--rounds N] [--warm]\n`,
  );
  process.exitCode = 2;
} else {
  await using place = openWorkplace(values.in, Number(values.rounds));
  const results = await bench.measure(place, !values.warm);
  process.stdout.write(
    `${bench.what}; ${values.rounds} rounds; ${values.warm ? 'warm' : 'caches dropped'}\n\n`,
  );
  process.stdout.write(`${tableOf(results, bench.ratios)}\n`);
}

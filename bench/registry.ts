/**
 * `npm run bench:registry -- [GiB [ROUNDS]]`: an image with one layer of random bytes between an OCI layout and a
 * docker-registry on the loopback, by tsbuild and by skopeo in turns, both verifying. Prints times and peak memory.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomFillSync } from 'node:crypto';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');
const PORT = 5000 + (process.pid % 1000);
const HOST = `127.0.0.1:${PORT}`;

const [gib = '1', rounds = '3'] = process.argv.slice(2);
const size = Math.round(Number(gib) * 1024) * 2 ** 20;
const directory = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'tsbuild-registry-bench-'));

function makeLayout(root: string, bytes: number): void {
  const blobs = join(root, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (text: string): { readonly digest: string; readonly size: number } => {
    const hex = createHash('sha256').update(text).digest('hex');
    writeFileSync(join(blobs, hex), text);
    return { digest: `sha256:${hex}`, size: Buffer.byteLength(text) };
  };
  const temp = join(root, 'layer');
  const fd = openSync(temp, 'w');
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(8 << 20);
  for (let left = bytes; left > 0; left -= chunk.byteLength) {
    const part = randomFillSync(chunk).subarray(0, Math.min(left, chunk.byteLength));
    hash.update(part);
    writeSync(fd, part);
  }
  closeSync(fd);
  const hex = hash.digest('hex');
  execFileSync('mv', [temp, join(blobs, hex)]);
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${hex}`, size: bytes };
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    ...put(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: {},
        rootfs: { type: 'layers', diff_ids: [layer.digest] },
      }),
    ),
  };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = {
    mediaType,
    ...put(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] })),
  };
  writeFileSync(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(root, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': '1' } }],
    }),
  );
}

interface Run {
  readonly seconds: number;
  readonly rssMiB: number;
}

/** GNU time counts a process's peak memory. */
function timed(program: string, ...args: readonly string[]): Run {
  const started = process.hrtime.bigint();
  const ended = spawnSync('/usr/bin/time', ['-f', '%M', program, ...args], { encoding: 'utf8' });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (ended.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${ended.stderr}`);
  return { seconds, rssMiB: Number(ended.stderr.trim().split('\n').at(-1)) / 1024 };
}

async function startRegistry(): Promise<() => void> {
  const config = join(directory, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${directory}/data }, delete: { enabled: true } }\nhttp: { addr: "${HOST}" }\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  for (let tried = 0; tried < 100; tried += 1) {
    if (
      await fetch(`http://${HOST}/v2/`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return () => void child.kill('SIGKILL');
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const stop = await startRegistry();
try {
  const layout = join(directory, 'layout');
  makeLayout(layout, size);
  const results: Record<string, Run[]> = {
    'tsbuild push': [],
    'skopeo push': [],
    'tsbuild pull': [],
    'skopeo pull': [],
  };
  const state = ['--root', join(directory, 'state'), '--progress', 'quiet'];
  for (let round = 0; round < Number(rounds); round += 1) {
    // A registry remembers blobs over repositories; what it has is not sent, so it forgets them first.
    const forget = (): void => rmSync(join(directory, 'data'), { recursive: true, force: true });
    forget();
    results['skopeo push']?.push(
      timed(
        'skopeo',
        'copy',
        '-q',
        '--dest-tls-verify=false',
        `oci:${layout}:1`,
        `docker://${HOST}/theirs:1`,
      ),
    );
    forget();
    results['tsbuild push']?.push(timed(CLI, 'copy', ...state, `oci:${layout}:1`, `${HOST}/ours:1`));
    for (const [name, args] of [
      ['tsbuild pull', [CLI, 'copy', ...state, `${HOST}/ours:1`, `oci:${directory}/pulled:1`]],
      [
        'skopeo pull',
        [
          'skopeo',
          'copy',
          '-q',
          '--src-tls-verify=false',
          `docker://${HOST}/ours:1`,
          `oci:${directory}/pulled:1`,
        ],
      ],
    ] as const) {
      rmSync(join(directory, 'pulled'), { recursive: true, force: true });
      const [program = '', ...rest] = args;
      results[name]?.push(timed(program, ...rest));
    }
  }
  const rows = Object.entries(results).map(([name, runs]) => ({
    name,
    seconds: Number(median(runs.map((run) => run.seconds)).toFixed(2)),
    mibPerSecond: Math.round(size / 2 ** 20 / median(runs.map((run) => run.seconds))),
    peakRssMiB: Math.round(Math.max(...runs.map((run) => run.rssMiB))),
  }));
  console.log(JSON.stringify({ layerGiB: size / 2 ** 30, rounds: Number(rounds), rows }, null, 2));
} finally {
  stop();
  rmSync(directory, { recursive: true, force: true });
}

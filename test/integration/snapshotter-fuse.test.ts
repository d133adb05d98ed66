/** Driver `fuse-overlayfs`, where the program and /dev/fuse are. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { openTree } from '../../src/layer/open-tree.ts';
import { askFuse } from '../../snapshotter/fuse-overlayfs.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { CLI, eventually } from '../e2e/fixture.ts';
import {
  changeInside,
  describeTree,
  storeLayer,
  tarOf,
  temporaryDirectory,
  testHost,
} from '../suites/layer-fixture.ts';
import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

/** The parent of the lowest layer. */
const BOTTOM: ChainID | undefined = undefined;

const home = mkdtempSync(join(tmpdir(), 'tsbuild-fuse-'));
const missing = askFuse({ root: home, host: testHost });
after(() => rmSync(home, { recursive: true, force: true }));

/** Processes that serve something below the directory of this test. */
function programs(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
        return program.endsWith('/fuse-overlayfs') && args.some((word) => word.includes(home));
      } catch {
        return false;
      }
    });
}

if (missing === undefined) describeSnapshotter('fuse-overlayfs');

describe('fuse-overlayfs', { skip: missing ?? false }, () => {
  const root = join(home, 'cli');
  const args = [CLI, '--root', root, '--storage-driver', 'fuse-overlayfs'];
  const tsbuild = (...more: readonly string[]): string =>
    execFileSync(process.execPath, [...args, ...more], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const context = join(home, 'ctx');
  before(() => {
    mkdirSync(context);
    copyFileSync('/bin/busybox', join(context, 'busybox'));
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir /gone /d && echo old > /d/old
RUN rm -r /gone /d && mkdir /d && echo new > /d/new
FROM base
RUN --mount=type=bind,from=base,source=/d,target=/m,rw cat /m/new > /seen && echo x > /m/x && ls /d > /listed
`,
    );
    tsbuild('build', '-q', '-t', 'made', context);
  });

  after(() => void spawnSync(process.execPath, [...args, 'rm', '-f', 'fc']));

  test('a mount has a process, which ends with it', async () => {
    const at = join(home, 'one');
    const layers = openLayerStore(join(at, 'layers'), testHost);
    const snapshots = openSnapshotter({ root: at, host: testHost, layers, driver: 'fuse-overlayfs' });
    const { name } = await snapshots.apply(BOTTOM, storeLayer(layers, tarOf({ path: 'f', content: 'f' })));
    await using active = await snapshots.prepare(name);
    assert.deepEqual(programs(), []);
    const tree = openTree(active.mounts);
    assert.equal(tree.lstat('f')?.type, 'file');
    assert.equal(programs().length, 1);
    tree[Symbol.dispose]();
    await eventually(() => assert.deepEqual(programs(), []));
    changeInside(active.mounts, 'rm f; mkdir f; echo in > f/in');
    const { snapshot } = await active.commit();
    await using view = await snapshots.view(snapshot.name);
    assert.deepEqual(
      describeTree(view.mounts).map((line) => line.split(' ').slice(0, 2).join(' ')),
      ['f directory', 'f/in file'],
    );
    assert.deepEqual(readdirSync(join(at, 'fuse-overlayfs/committed', snapshot.name.slice(7), 'fs/f')), [
      'in',
    ]);
  });

  test('builds, with deletions, directories that were made again and mounts of stages', async () => {
    const ran = tsbuild(
      'run',
      '--rm',
      'made',
      'sh',
      '-c',
      'cat /seen /listed; ls /d; test ! -e /gone; grep " / " /proc/mounts',
    );
    assert.match(ran, /^new\nnew\nnew\n\S+ \/ fuse/);
    // The same layers as the kernel's, but for times.
    const config = JSON.parse(tsbuild('inspect', 'made')) as [{ RootFS: { Layers: string[] } }];
    assert.equal(config[0].RootFS.Layers.length, 5);
    await eventually(() => assert.deepEqual(programs(), []));
  });

  test('a container is looked into, changed, stopped, started again and committed', async () => {
    tsbuild(
      'run',
      '-d',
      '--name',
      'fc',
      '--restart',
      'on-failure',
      'made',
      'sh',
      '-c',
      'date >> /starts; sleep 1000; exit 1',
    );
    assert.equal(programs().length, 1);
    assert.equal(
      tsbuild('exec', 'fc', 'sh', '-c', 'rm /seen; rm -r /d; mkdir /d; echo more > /d/more; ls /d'),
      'more\n',
    );
    const changes = (): readonly string[] => tsbuild('diff', 'fc').trim().split('\n').sort();
    const expected = ['A /d/more', 'A /starts', 'C /d', 'D /d/new', 'D /seen'];
    // What it does itself, it does in its own time.
    await eventually(() => assert.deepEqual(changes(), expected));
    // Its monitor starts it again, when nobody of us is there.
    await eventually(() => tsbuild('exec', 'fc', 'sh', '-c', 'killall -9 sleep'));
    await eventually(() => assert.equal(tsbuild('exec', 'fc', 'sh', '-c', 'wc -l < /starts'), '2\n'));
    tsbuild('stop', '-t', '0', 'fc');
    await eventually(() => assert.deepEqual(programs(), []));
    assert.deepEqual(changes(), expected);
    tsbuild('cp', join(context, 'Dockerfile'), 'fc:/d/copied');
    assert.equal(tsbuild('cp', 'fc:/d/more', '-').includes('more'), true);
    tsbuild('start', 'fc');
    assert.equal(tsbuild('exec', 'fc', 'ls', '/d'), 'copied\nmore\n');
    tsbuild('commit', 'fc', 'changed');
    assert.equal(tsbuild('run', '--rm', 'changed', 'ls', '/d'), 'copied\nmore\n');
    tsbuild('rm', '-f', 'fc');
    await eventually(() => assert.deepEqual(programs(), []));
  });

  test('what is killed takes its processes along', async () => {
    writeFileSync(join(context, 'Dockerfile.sleep'), 'FROM made\nRUN echo begun && sleep 1000\n');
    const child = spawn(process.execPath, [
      ...args,
      'build',
      '--progress',
      'plain',
      '-f',
      join(context, 'Dockerfile.sleep'),
      context,
    ]);
    let text = '';
    child.stderr.on('data', (data: Buffer) => (text += data.toString()));
    await eventually(() => assert.match(text, /^#\d+ \d\S+ begun$/m));
    assert.equal(programs().length, 1);
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
    await eventually(() => assert.deepEqual(programs(), []));
    // And the next one sweeps what it left.
    tsbuild('run', '--rm', 'made', 'true');
    assert.deepEqual(readdirSync(join(root, 'snapshots/fuse-overlayfs/staging')), []);
  });

  test('doctor names it', () => {
    assert.match(tsbuild('doctor'), /storage driver .*fuse-overlayfs/);
  });

  test('mapped ids are refused in words', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [...args, 'run', '--userns', 'auto', 'made', 'true'],
      {
        encoding: 'utf8',
      },
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /fuse-overlayfs cannot show files with other ids/);
  });
});

test('paths that the program would read otherwise are refused', { skip: missing ?? false }, () => {
  using temporary = temporaryDirectory();
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  for (const name of ['a:b', 'a,b', 'a\\b'])
    assert.throws(
      () =>
        openSnapshotter({
          root: join(temporary.path, name),
          host: testHost,
          layers,
          driver: 'fuse-overlayfs',
        }),
      (error) => isTsbuildError(error, 'KERNEL_UNSUPPORTED') && error.message.includes('takes no comma'),
    );
});

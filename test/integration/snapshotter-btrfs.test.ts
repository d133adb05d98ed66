/** Driver `btrfs` on a file system of its own, in an image on a loop device. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { makeSubvolume } from '../../native/sys.ts';
import { describeTree, temporaryDirectory, testHost } from '../suites/layer-fixture.ts';
import { CLI } from '../e2e/fixture.ts';
import { mountBtrfs, unmountBtrfs } from '../suites/btrfs.ts';
import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

const home = mkdtempSync(join(tmpdir(), 'tsbuild-btrfs-'));
const mountpoint = join(home, 'mnt');
const missing = mountBtrfs(join(home, 'image'), mountpoint);
after(() => {
  if (missing === undefined) unmountBtrfs(mountpoint);
  rmSync(home, { recursive: true, force: true });
});

if (missing === undefined) describeSnapshotter('btrfs', {}, 'btrfs', () => mountpoint);

describe('btrfs', { skip: missing ?? false }, () => {
  test('a snapshot is a subvolume, and is gone as one', async () => {
    const root = mkdtempSync(join(mountpoint, 'one-'));
    const layers = openLayerStore(join(root, 'layers'), testHost);
    const snapshots = openSnapshotter({ root, host: testHost, layers, driver: 'btrfs' });
    const before = subvolumes();
    await using active = await snapshots.prepare(undefined);
    const [mount] = active.mounts;
    assert.ok(mount?.kind === 'bind');
    mkdirSync(join(mount.source, 'd'));
    const { snapshot } = await active.commit();
    assert.equal(subvolumes(), before + 1);
    await snapshots.remove(snapshot.name);
    assert.equal(subvolumes(), before);
  });

  test('what a process put into a subvolume of its own is in the states after it', async () => {
    const root = mkdtempSync(join(mountpoint, 'inner-'));
    const layers = openLayerStore(join(root, 'layers'), testHost);
    const snapshots = openSnapshotter({ root, host: testHost, layers, driver: 'btrfs' });
    await using first = await snapshots.prepare(undefined);
    const [mount] = first.mounts;
    assert.ok(mount?.kind === 'bind');
    makeSubvolume(mount.source, 'inner');
    mkdirSync(join(mount.source, 'inner/d'));
    const { snapshot } = await first.commit();
    await using second = await snapshots.prepare(snapshot.name);
    const shown = describeTree(second.mounts).map((line) => line.split(' ')[0]);
    assert.deepEqual(shown, ['inner', 'inner/d']);
    await first[Symbol.asyncDispose]();
    const staging = readdirSync(join(root, 'btrfs/staging'));
    assert.equal(staging.length, 1, 'that of the second');
  });

  test('--storage-driver btrfs builds and runs, and leaves no subvolume', () => {
    const root = mkdtempSync(join(mountpoint, 'cli-'));
    const before = subvolumes();
    const context = join(home, 'ctx');
    mkdirSync(context);
    writeFileSync(
      join(context, 'Dockerfile'),
      'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/made"]\n',
    );
    copyFileSync('/bin/busybox', join(context, 'busybox'));
    const tsbuild = (...args: readonly string[]): string =>
      execFileSync(process.execPath, [CLI, '--root', root, '--storage-driver', 'btrfs', ...args], {
        encoding: 'utf8',
      });
    tsbuild('build', '-q', '-t', 'made', context);
    assert.equal(subvolumes(), before + 2);
    assert.match(tsbuild('run', '--rm', 'made', '/bin/busybox', 'ls', '/'), /^made$/m);
    tsbuild('system', 'prune', '-af');
    assert.equal(subvolumes(), before);
  });

  test('a driver that there is not is refused, with one that there is', () => {
    const args = [CLI, '--root', join(home, 'none'), 'images'];
    for (const [more, env] of [
      [['--storage-driver', 'btrf'], {}],
      [[], { TSBUILD_STORAGE_DRIVER: 'btrf' }],
    ] as const) {
      const { status, stderr } = spawnSync(process.execPath, [...args, ...more], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      });
      assert.equal(status, 2);
      assert.match(
        stderr,
        /invalid (--storage-driver|TSBUILD_STORAGE_DRIVER) "btrf"[^]*did you mean btrfs\?/,
      );
    }
  });

  function subvolumes(): number {
    const { stdout } = spawnSync('btrfs', ['subvolume', 'list', mountpoint], { encoding: 'utf8' });
    return stdout.split('\n').filter((line) => line !== '').length;
  }
});

test('btrfs on another file system is refused', () => {
  using temporary = temporaryDirectory();
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  assert.throws(
    () => openSnapshotter({ root: temporary.path, host: testHost, layers, driver: 'btrfs' }),
    (error) => isTsbuildError(error, 'KERNEL_UNSUPPORTED') && error.message.includes('is not on btrfs'),
  );
});

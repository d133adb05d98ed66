import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { askOverlay } from '../../snapshotter/choice.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { CLI } from '../e2e/fixture.ts';
import {
  describeTree,
  storeLayer,
  tarOf,
  temporaryDirectory,
  testHost,
  type Item,
} from '../suites/layer-fixture.ts';
import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

/** Below the first layer. */
const NOTHING = undefined as ChainID | undefined;

describeSnapshotter('overlay');
describeSnapshotter('overlay', { small: 0 }, 'overlay with all layers unpacked natively');

test('a layer is unpacked natively as it is here: types, owners, times, attributes, links, depth', async () => {
  using temporary = temporaryDirectory();
  const deep = Array.from({ length: 1200 }, (_, index) => ({ path: 'd/'.repeat(index + 1).slice(0, -1) }));
  const bottom = 'd/'.repeat(1200);
  const items: readonly Item[] = [
    ...[
      { path: 'plain', content: 'x'.repeat(3_000_000) },
      { path: 'empty', content: '' },
    ],
    { path: 'suid', content: 'run', mode: 0o6755, uid: 1000, gid: 2000, mtime: -5 },
    { path: 'capable', content: 'c', xattrs: new Map([['user.note', Buffer.from([0, 255, 1])]]) },
    { path: 'link', type: 'symlink', linkname: '/nowhere/../x', uid: 7 },
    { path: 'fifo', type: 'fifo', mode: 0o620 },
    { path: 'null', type: 'char', major: 1, minor: 3, mode: 0o666 },
    ...deep,
    { path: `${bottom}last`, content: 'deep' },
    { path: 'top-name', type: 'hardlink', linkname: `${bottom}last` },
    { path: `${bottom}other-name`, type: 'hardlink', linkname: 'plain' },
    { path: 'closed', mode: 0o000, mtime: 7 },
    { path: 'closed/inside', content: 'i' },
  ];
  const shown = async (name: string, small: number): Promise<string[]> => {
    const root = join(temporary.path, name);
    const layers = openLayerStore(join(root, 'layers'), testHost);
    const snapshots = openSnapshotter({ root, host: testHost, layers, driver: 'overlay', small });
    const { name: top } = await snapshots.apply(NOTHING, storeLayer(layers, tarOf(...items)));
    await using view = await snapshots.view(top);
    return describeTree(view.mounts);
  };
  const here = await shown('here', Number.POSITIVE_INFINITY);
  assert.deepEqual(await shown('natively', 0), here);
  assert.ok(here.length >= 1200 + 12, `${here.length} entries`);
});

test('a layer with paths that no path from the root reaches is refused, and what was made of it is removed', async () => {
  using temporary = temporaryDirectory();
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  const options = { root: temporary.path, host: testHost, layers, driver: 'overlay' } as const;
  const snapshots = openSnapshotter({ ...options, small: 0 });
  const deep = Array.from({ length: 16 }, (_, index) => ({
    path: `${'n'.repeat(250)}/`.repeat(index + 1).slice(0, -1),
  }));
  const layer = storeLayer(layers, tarOf(...deep));
  await assert.rejects(snapshots.apply(NOTHING, layer), (error) => isTsbuildError(error, 'IO_FAILED'));
  assert.deepEqual(readdirSync(join(temporary.path, 'overlay/staging')), []);
});

test('a layer whose bytes are others than its name says is not kept, and leaves nothing', async () => {
  using temporary = temporaryDirectory();
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  const options = { root: temporary.path, host: testHost, layers, driver: 'overlay' } as const;
  const snapshots = openSnapshotter({ ...options, small: 0 });
  const layer = storeLayer(layers, tarOf({ path: 'f', content: 'content' }));
  const bytes = readFileSync(layer.path ?? '');
  bytes.write('CONTENT', bytes.indexOf('content'));
  writeFileSync(layer.path ?? '', bytes);
  await assert.rejects(snapshots.apply(NOTHING, layer), (error) => isTsbuildError(error, 'DIGEST_MISMATCH'));
  assert.deepEqual(readdirSync(join(temporary.path, 'overlay/committed')), []);
  assert.deepEqual(readdirSync(join(temporary.path, 'overlay/staging')), []);
});

test('a stack of as many layers as overlayfs takes is viewed, one more is refused', async () => {
  using temporary = temporaryDirectory();
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  const snapshots = openSnapshotter({ root: temporary.path, host: testHost, layers, driver: 'overlay' });
  let name: ChainID | undefined;
  for (let i = 0; i < 499; i += 1) {
    const layer = storeLayer(layers, tarOf({ path: `f${i}`, content: `${i}` }));
    name = (await snapshots.apply(name, layer)).name;
  }
  await using view = await snapshots.view(name);
  assert.equal(describeTree(view.mounts).length, 499);
  await using active = await snapshots.prepare(name);
  assert.equal(active.mounts.length, 1);
  const last = (await snapshots.apply(name, storeLayer(layers, tarOf({ path: 'last', content: '' })))).name;
  await assert.rejects(
    async () => snapshots.prepare(last),
    (error) => isTsbuildError(error, 'KERNEL_UNSUPPORTED'),
  );
});

test('the kernel of this machine is found to mount overlays', () => {
  using temporary = temporaryDirectory();
  assert.equal(askOverlay({ root: temporary.path, host: testHost }), undefined);
});

test('a state root on an overlay, which can be no upper directory of another, made every RUN fail', () => {
  using temporary = temporaryDirectory();
  const { path } = temporary;
  for (const name of ['lower', 'upper', 'work', 'mnt', 'context']) mkdirSync(join(path, name));
  copyFileSync('/bin/busybox', join(path, 'context/busybox'));
  writeFileSync(
    join(path, 'context/Dockerfile'),
    'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/x"]\n',
  );
  const script = `set -e; cd "$1"; mount -t overlay o -o lowerdir=lower,upperdir=upper,workdir=work mnt
    "$2" "$3" --root mnt/root build -q -t made context >/dev/null
    "$2" "$3" --root mnt/root run --rm made /bin/busybox ls /x
    "$2" "$3" --root mnt/root doctor`;
  const args = ['-m', 'sh', '-c', script, 'sh', path, process.execPath, CLI];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^\/x\n/);
  assert.match(
    stdout,
    /storage driver +copy: erofs cannot be used: .*: overlay cannot be used: .*: fuse-overlayfs cannot/,
  );
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { askOverlay } from '../../snapshotter/choice.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { CLI } from '../e2e/fixture.ts';
import { describeTree, storeLayer, tarOf, temporaryDirectory, testHost } from '../suites/layer-fixture.ts';
import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

describeSnapshotter('overlay');

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

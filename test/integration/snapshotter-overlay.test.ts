import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
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
  const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
  assert.equal(openSnapshotter({ root: temporary.path, host: testHost, layers }).driver, 'overlay');
});

/**
 * A process that applies and commits snapshots in the store of argv[2] with driver argv[3], argv[4] times, from
 * the number argv[5] on. To be killed at any moment, or to race with others.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChainID } from '../../src/base/digest.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { isDriver, type Driver } from '../../snapshotter/driver.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { storeLayer, tarOf, testHost, type Item, writtenBack } from './layer-fixture.ts';

const FILES = 60;

/** Number `n` of a series of layers, the same in every process. */
function layerItems(n: number): readonly Item[] {
  return Array.from({ length: FILES }, (_, i) => ({ path: `d${n}/f${i}`, content: `${n}.${i}`.repeat(200) }));
}

async function work(root: string, driver: Driver, times: number, from: number): Promise<void> {
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const snapshots = openSnapshotter({ root, host: testHost, layers, driver, small: 0 });
  let parent: ChainID | undefined;
  for (let n = from; n < from + times; n += 1) {
    parent = (await snapshots.apply(parent, storeLayer(layers, tarOf(...layerItems(n))))).name;
    await using active = await snapshots.prepare(parent, { stubs: [{ path: '/proc', type: 'directory' }] });
    const [mount] = active.mounts;
    const at = mount?.kind === 'bind' ? mount.source : mount?.upper;
    writeFileSync(join(at ?? '', 'changed'), `${n}`);
    await active.commit({ maxMtime: 0 });
    if (n % 5 === 0) await writtenBack([...layers.unsynced(), ...snapshots.unsynced()]);
  }
}

const [, , root, driver, times, from] = process.argv;
if (root !== undefined && driver !== undefined && isDriver(driver))
  await work(root, driver, Number(times), Number(from));

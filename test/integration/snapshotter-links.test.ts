/**
 * Hard links over several steps, by chance: what a step leaves is what its layers make elsewhere, and drivers in which it
 * leaves the same make the same layer.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { Layer, LayerStore } from '../../src/layer/layer.ts';
import type { Driver } from '../../snapshotter/driver.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import type { Snapshotter } from '../../snapshotter/snapshotter.ts';
import {
  changeInside,
  describeTree,
  linksOf,
  storeLayer,
  tarOf,
  testHost,
  type Item,
} from '../suites/layer-fixture.ts';
import { createRandom, type Random } from '../suites/random-tree.ts';

const SEEDS = Number(process.env['TSBUILD_LINK_SEEDS'] ?? 12);
const STEPS = 5;
const home = mkdtempSync(join(tmpdir(), 'tsbuild-links-'));
after(() => rmSync(home, { recursive: true, force: true }));
/** fuse-overlayfs shows as one file what was one before a name was copied up. */
const DRIVERS: readonly Driver[] = ['overlay', 'erofs', 'copy'];

const BASE: readonly Item[] = [
  ...[{ path: 'd' }, { path: 'e' }, { path: 'e/deep' }],
  { path: 'd/a', content: 'one' },
  { path: 'd/b', type: 'hardlink', linkname: 'd/a' },
  { path: 'e/c', type: 'hardlink', linkname: 'd/a' },
  { path: 'd/p', content: 'one' },
  { path: 'e/deep/q', type: 'hardlink', linkname: 'd/p' },
  { path: 'e/s', type: 'symlink', linkname: 'c' },
  { path: 'e/t', type: 'hardlink', linkname: 'e/s' },
  { path: 'z', content: 'alone' },
];
const NAMES = ['d/a', 'd/b', 'd/n', 'd/p', 'e/c', 'e/deep/q', 'e/m', 'e/s', 'e/t', 'z'];

/** What cannot be done, because of what was done before, is not. */
function operation(random: Random): string {
  const name = (): string => NAMES[random.below(NAMES.length)] ?? '';
  const [one, other] = [name(), name()];
  const operations = [
    `ln -P ${one} ${other}`,
    `ln -fP ${one} ${other}`,
    `ln -fP ${one} ${other}`,
    `rm ${one}`,
    `mv -f ${one} ${other}`,
    `rm -rf tmp; cp -a ${one} tmp && mv -f tmp ${one}`,
    `rm -rf tmp; cp -a ${one} tmp && mv -f tmp ${other}`,
    `cp -a ${one} ${other}`,
    `chmod 6${random.below(8)}4 ${one}`,
    `chown 0:0 ${one}`,
    `touch -h -d @${random.below(3)} ${one}`,
    `test -f ${one} && echo ${random.below(2)} >> ${one}`,
    `ln -P ${one} tmp && rm tmp`,
    `rm -rf e/deep && mkdir -p e/deep && ln -P ${one} e/deep/q`,
    `rm -rf moved && mv e moved && mv moved e`,
  ];
  return `{ ${operations[random.below(operations.length)] ?? ''}; } 2>/dev/null || true`;
}

interface Store {
  readonly driver: Driver;
  readonly snapshots: Snapshotter;
}

describe('hard links', () => {
  let layers: LayerStore;
  let stores: readonly Store[];
  const opened = (at: string): readonly Store[] =>
    DRIVERS.map((driver) => ({
      driver,
      snapshots: openSnapshotter({ root: join(home, at), host: testHost, layers, driver }),
    }));
  before(() => {
    layers = openLayerStore(join(home, 'layers'), testHost);
    stores = opened('steps');
  });

  async function stackOf({ snapshots }: Store, stack: readonly Layer[]): Promise<ChainID | undefined> {
    let name: ChainID | undefined;
    for (const layer of stack) name = (await snapshots.apply(name, layer)).name;
    return name;
  }

  /** What the script leaves, which the layer makes of the same parent in another store. */
  async function step(
    store: Store,
    stack: readonly Layer[],
    script: string,
    maxMtime: number | undefined,
  ): Promise<{ readonly layer: Layer; readonly left: readonly string[] }> {
    await using active = await store.snapshots.prepare(await stackOf(store, stack));
    changeInside(active.mounts, script);
    const live = linksOf(describeTree(active.mounts));
    const { layer, snapshot } = await active.commit(maxMtime === undefined ? {} : { maxMtime });
    await using view = await store.snapshots.view(snapshot.name);
    const left = describeTree(view.mounts);
    assert.deepEqual(linksOf(left), live, `${store.driver}: what was committed is not what was there`);
    for (const elsewhere of opened(`again-${process.pid}`)) {
      const name = await stackOf(elsewhere, [...stack, layer]);
      await using again = await elsewhere.snapshots.view(name);
      assert.deepEqual(
        describeTree(again.mounts),
        left,
        `${elsewhere.driver} with the layers of ${store.driver}`,
      );
    }
    return { layer, left };
  }

  for (let seed = 1; seed <= SEEDS; seed += 1)
    test(`seed ${seed}: live, committed and applied are the same`, async () => {
      const random = createRandom(seed);
      const maxMtime = seed % 2 === 0 ? 1 : undefined;
      const count = 1 + (seed % 4);
      const stacks = new Map(stores.map(({ driver }) => [driver, [storeLayer(layers, tarOf(...BASE))]]));
      const done: string[] = [];
      for (let at = 0; at < STEPS; at += 1) {
        const script = Array.from({ length: count }, () => operation(random)).join('\n');
        done.push(script);
        for (const store of stores)
          try {
            const stack = stacks.get(store.driver) ?? [];
            stack.push((await step(store, stack, script, maxMtime)).layer);
          } catch (error) {
            throw new Error(`${store.driver} after\n${done.join('\n--\n')}\n${String(error)}`, {
              cause: error,
            });
          }
      }
    });

  for (let seed = 101; seed <= 100 + SEEDS; seed += 1)
    test(`seed ${seed}: what is the same in all drivers has the same layer`, async () => {
      const random = createRandom(seed);
      const stack = [storeLayer(layers, tarOf(...BASE))];
      for (let at = 0; at < STEPS; at += 1) {
        // why one: an overlay cannot tell what it copied up from what was made anew.
        const script = operation(random);
        let first: { readonly layer: Layer; readonly left: readonly string[] } | undefined;
        for (const store of stores) {
          const made = await step(store, stack, script, 1);
          if (first !== undefined && linksOf(first.left).join() === linksOf(made.left).join())
            assert.equal(made.layer.diffID, first.layer.diffID, `${store.driver}: ${script}`);
          first ??= made;
        }
        if (first !== undefined) stack.push(first.layer);
      }
    });
});

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { digestOf, type ChainID } from '../../src/base/digest.ts';
import { namesIn } from '../../src/base/directory-names.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { DRIVER_DIRECTORY, openSnapshotter } from '../../snapshotter/open.ts';
import {
  bytesOf,
  describeTree,
  storeLayer,
  tarOf,
  temporaryDirectory,
  testHost,
} from '../suites/layer-fixture.ts';

/** The parent of the lowest layer. */
const BOTTOM: ChainID | undefined = undefined;
const WORKER = fileURLToPath(new URL('../suites/snapshot-worker.js', import.meta.url));

for (const driver of ['erofs', 'overlay', 'copy'] as const)
  describe(`snapshotter ${driver} with several processes`, () => {
    test('a store survives kill -9 at any moment', async () => {
      using temporary = temporaryDirectory();
      const root = temporary.path;
      const committed = (): readonly string[] => namesIn(join(root, DRIVER_DIRECTORY[driver], 'committed'));
      for (let round = 0; round < 8; round += 1) {
        const worker = spawn(process.execPath, [WORKER, root, driver, '1000', `${round * 3}`], {
          stdio: 'ignore',
        });
        const gone = once(worker, 'exit');
        const before = committed().length;
        // A machine that is busy needs its time to begin.
        for (let waited = 0; committed().length === before && waited < 20_000; waited += 10) await sleep(10);
        await sleep(round * 37);
        worker.kill('SIGKILL');
        await gone;
      }
      const layers = openLayerStore(join(root, 'layers'), testHost);
      const snapshots = openSnapshotter({ root, host: testHost, layers, driver });
      assert.deepEqual(await snapshots.check(), []);
      assert.deepEqual(readdirSync(join(root, DRIVER_DIRECTORY[driver], 'staging')), []);
      for (const diffID of layers.list()) {
        const layer = layers.get(diffID);
        assert.ok(layer !== undefined && digestOf(await bytesOf(layer)) === diffID);
      }
      let seen = 0;
      for await (const { name } of snapshots.list()) {
        await using view = await snapshots.view(name);
        const files = describeTree(view.mounts).filter(
          (line) => / file /.test(line) && !line.startsWith('changed'),
        );
        assert.equal(files.length % 60, 0);
        seen += 1;
      }
      assert.ok(seen > 0, 'the workers were killed before they had made anything');
      const last = await snapshots.apply(
        BOTTOM,
        storeLayer(layers, tarOf({ path: 'after', content: 'all' })),
      );
      assert.deepEqual(await snapshots.stat(last.name), last);
    });

    test('processes that make the same snapshots at once agree', async () => {
      using temporary = temporaryDirectory();
      const workers = [0, 1, 2].map(() =>
        spawn(process.execPath, [WORKER, temporary.path, driver, '6', '0'], {
          stdio: ['ignore', 'ignore', 'inherit'],
        }),
      );
      const codes = await Promise.all(
        workers.map(async (worker) => (await once(worker, 'exit'))[0] as number),
      );
      assert.deepEqual(codes, [0, 0, 0]);
      const layers = openLayerStore(join(temporary.path, 'layers'), testHost);
      const snapshots = openSnapshotter({ root: temporary.path, host: testHost, layers, driver });
      assert.deepEqual(await snapshots.check(), []);
      assert.deepEqual(readdirSync(join(temporary.path, DRIVER_DIRECTORY[driver], 'staging')), []);
      let count = 0;
      for await (const info of snapshots.list()) count += info.name === '' ? 0 : 1;
      assert.equal(count, 12);
    });

    test('a full disk is an error that says so and leaves nothing half-made', () => {
      using temporary = temporaryDirectory();
      const script = `
        mount -t tmpfs -o size=3m tmpfs "$1"
        "$2" "$3" "$1" ${driver} 100 1 && exit 1
        find "$1/${DRIVER_DIRECTORY[driver]}/staging" "$1/layers/partial" -mindepth 1`;
      const run = spawnSync(
        'unshare',
        ['-m', 'sh', '-uc', script, 'sh', temporary.path, process.execPath, WORKER],
        {
          encoding: 'utf8',
        },
      );
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stderr, /DISK_FULL/);
      assert.equal(run.stdout, '');
    });
  });

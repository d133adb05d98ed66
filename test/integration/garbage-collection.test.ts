/** Leases, collections and the limit, of several engines on one state root. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import { openEngine, type Engine } from '../../src/engine/engine.ts';
import { collectorOf, pruneCache, pruneImages } from '../../src/engine/gc/prune.ts';
import { collect } from '../../src/engine/gc/collect.ts';
import { checkStore } from '../../src/engine/system.ts';
import { isKept } from '../../src/engine/gc/budget.ts';
import type { StoredImage } from '../../src/image/image-store.ts';
import { parseReference } from '../../src/oci/reference.ts';

let root: string;
let engines: Engine[];
let count = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-gc-'));
  engines = [];
});
afterEach(async () => {
  for (const engine of engines) await engine[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

const owner = (): string => `${process.pid}.${startTimeOf(process.pid) ?? ''}.${((count += 1)).toString(36)}`;

function engine(storageMax?: number): Engine {
  const opened = openEngine({
    root,
    host: { now: () => Date.now(), unique: owner },
    platform: { os: 'linux', architecture: 'amd64' },
    parallelism: 1,
    hostname: 'test',
    random: (size) => new Uint8Array(size),
    cleanupCommand: [],
    resolvConf: () => '',
    openRegistry: () => Promise.reject(new Error('no registry here')),
    ...(storageMax === undefined ? {} : { storageMax }),
  });
  engines.push(opened);
  return opened;
}

/** A layer of so many bytes. */
function layer({ layers }: Engine, size: number, fill: number): DiffID {
  using writer = layers.create();
  writer.write(Buffer.alloc(size, fill));
  return writer.commit().diffID;
}

function image({ images }: Engine, layers: readonly DiffID[], name?: string): StoredImage {
  const stored = images.put({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    created: new Date(Date.now() + (count += 1)).toISOString(),
    history: [],
    rootfs: { type: 'layers', diff_ids: layers },
  });
  if (name !== undefined) images.tag(parseReference(name), stored.id);
  return stored;
}

const everything = { keeps: isKept, selects: () => true };
const has = ({ layers }: Engine, diffID: DiffID): boolean => layers.get(diffID) !== undefined;

test('what another process made stays until its work ends', () => {
  const [builder, pruner] = [engine(), engine()];
  const work = builder.leases.enter();
  const made = layer(builder, 5000, 1);
  pruneCache(pruner, { all: true });
  assert.ok(has(pruner, made));
  work[Symbol.dispose]();
  assert.ok(pruneCache(pruner, { all: true }).freed >= 5000);
  assert.equal(has(pruner, made), false);
  assert.deepEqual(readdirSync(join(root, 'leases')), []);
});

/** With stores in which something happens whenever they are asked what they hold. */
function asking(real: Engine, happens: () => void): Engine {
  const also = <T>(list: () => Iterable<T>) =>
    function* (): Generator<T> {
      const all = [...list()];
      happens();
      yield* all;
    };
  return {
    ...real,
    content: { ...real.content, list: also(() => real.content.list()) },
    layers: { ...real.layers, list: also(() => real.layers.list()) },
    images: {
      ...real.images,
      async list() {
        const all = await real.images.list();
        happens();
        return all;
      },
    },
  };
}

test('system check takes what others remove and make meanwhile for no damage, and damage for damage', async () => {
  const real = engine();
  const removals = [
    () => real.content.remove(real.content.write('removed').digest),
    () => real.layers.remove(layer(real, 10, 1)),
  ];
  for (const remove of removals) {
    real.content.write('removed');
    layer(real, 10, 1);
    const { damage } = await checkStore(asking(real, remove));
    assert.deepEqual(damage, []);
  }
  let named = 0;
  const naming = (): void => void image(real, [layer(real, 5, 2)], `n${(named += 1)}:1`);
  assert.deepEqual((await checkStore(asking(real, naming))).damage, []);
  assert.ok(named >= 3);
  const [lost] = image(real, [layer(real, 7, 3)], 'lost:1').config.rootfs.diff_ids;
  real.layers.remove(lost ?? assert.fail());
  assert.match((await checkStore(real)).damage.join('\n'), /^image sha256:\w+ lacks layer sha256:\w+$/);
});

test('what another process looked up to use stays until its work ends', () => {
  const [builder, pruner] = [engine(), engine()];
  const [used, other] = [layer(pruner, 5000, 1), layer(pruner, 5000, 2)];
  using _work = builder.leases.enter();
  assert.ok(has(builder, used));
  pruneCache(pruner, { all: true });
  assert.deepEqual([has(pruner, used), has(pruner, other)], [true, false]);
});

test('an image that is being pushed is whole until that has ended, whoever removes it', async () => {
  const [pusher, remover] = [engine(), engine()];
  const made = layer(remover, 5000, 1);
  const { id } = image(remover, [made], 'app:1');
  using _work = pusher.leases.enter();
  await pusher.images.require('app:1');
  remover.images.untag(parseReference('app:1'));
  remover.images.remove(id, { keepsConfig: remover.leases.isHeldElsewhere('blob', id) });
  pruneImages(remover, () => true);
  pruneCache(remover, { all: true });
  assert.ok(has(pusher, made));
  assert.notEqual(pusher.content.size(id), undefined);
});

test('what a killed process held goes, and so does its lease', () => {
  const pruner = engine();
  const made = layer(pruner, 5000, 1);
  mkdirSync(join(root, 'leases'));
  writeFileSync(join(root, 'leases/4000000.1.a'), `layer ${made}\n`);
  pruneCache(pruner, { all: true });
  assert.equal(has(pruner, made), false);
  assert.deepEqual(readdirSync(join(root, 'leases')), []);
});

test('nobody waits for a collection that was killed', () => {
  const builder = engine();
  mkdirSync(join(root, 'locks'));
  symlinkSync('4000000.1.a', join(root, 'locks/collecting'));
  using _work = builder.leases.enter();
  const started = performance.now();
  const made = layer(builder, 10, 1);
  assert.ok(performance.now() - started < 10_000);
  pruneCache(engine(), { all: true });
  assert.ok(has(builder, made));
  assert.equal(existsSync(join(root, 'locks/collecting')), false);
});

test('whoever asks while somebody collects waits, and sees what is left', async () => {
  const builder = engine();
  const made = layer(builder, 10, 1);
  const note = join(root, 'locks/collecting');
  const tar = builder.layers.get(made)?.path ?? '';
  mkdirSync(join(root, 'locks'));
  symlinkSync(owner(), note);
  const collector = new Worker(
    `const { rmSync } = require('node:fs');
     const { parentPort } = require('node:worker_threads');
     parentPort.postMessage('ready');
     Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
     rmSync(${JSON.stringify(tar)});
     rmSync(${JSON.stringify(note)});`,
    { eval: true },
  );
  await new Promise((resolve) => collector.once('message', resolve));
  using _work = builder.leases.enter();
  assert.equal(has(builder, made), false);
  await collector.terminate();
});

test('images with a name keep their layers, others give up what nobody else has', () => {
  const pruner = engine();
  const [shared, own, loose] = [layer(pruner, 5000, 1), layer(pruner, 5000, 2), layer(pruner, 5000, 3)];
  const named = image(pruner, [shared], 'app:1');
  const nameless = image(pruner, [shared, own]);
  collect(collectorOf(pruner), everything);
  assert.deepEqual(
    [shared, own, loose].map((each) => has(pruner, each)),
    [true, false, false],
  );
  assert.notEqual(pruner.content.size(named.id), undefined);
  assert.equal(pruner.content.size(nameless.id), undefined);
});

test('image prune takes images without a name, with --all those with one, and says their names', async () => {
  const pruner = engine();
  const [a, b] = [layer(pruner, 5000, 1), layer(pruner, 5000, 2)];
  image(pruner, [a], 'app:1');
  const nameless = image(pruner, [b]);
  const first = pruneImages(pruner, ({ tags }) => tags.length === 0);
  assert.deepEqual(
    first.removed.map(({ unit }) => unit.id),
    [nameless.id],
  );
  assert.deepEqual([has(pruner, a), has(pruner, b)], [true, false]);
  const second = pruneImages(pruner, () => true);
  assert.deepEqual(
    second.removed.map(({ unit }) => unit.names),
    [['app:1']],
  );
  assert.deepEqual(await pruner.images.list(), []);
  assert.deepEqual(readdirSync(join(root, 'images/tags')), []);
});

test('storage.max is held while things are made: what nobody needs makes room', () => {
  const builder = engine(100_000);
  const kept = layer(builder, 20_000, 1);
  image(builder, [kept], 'app:1');
  for (let at = 2; at < 30; at += 1) {
    layer(builder, 20_000, at);
    const sizes = [...builder.layers.list()].map((each) => builder.layers.get(each)?.size ?? 0);
    assert.ok(sizes.reduce((sum, size) => sum + size, 0) <= 100_000);
  }
  assert.ok(has(builder, kept));
});

test('what does not fit into storage.max is refused, and nothing is lost for it', () => {
  const before = engine();
  const tagged = layer(before, 50_000, 1);
  image(before, [tagged], 'app:1');
  const loose = layer(before, 20_000, 2);
  const builder = engine(100_000);
  assert.throws(
    () => layer(builder, 60_000, 3),
    (error) => isTsbuildError(error, 'STORAGE_FULL') && error.message.includes(root),
  );
  assert.deepEqual([has(before, tagged), has(before, loose)], [true, true]);
  assert.deepEqual(readdirSync(join(root, 'layers/partial')), []);
  layer(builder, 40_000, 4);
  assert.deepEqual([has(before, tagged), has(before, loose)], [true, false]);
});

test('what a running build has made does not go for its own next step', () => {
  const builder = engine(100_000);
  using _work = builder.leases.enter();
  const made = [1, 2, 3, 4].map((fill) => layer(builder, 20_000, fill));
  assert.throws(
    () => layer(builder, 30_000, 5),
    (error) => isTsbuildError(error, 'STORAGE_FULL'),
  );
  assert.ok(made.every((each) => has(builder, each)));
});

test('a cache mount of a running step stays', () => {
  const [builder, pruner] = [engine(), engine()];
  const name = 'c'.repeat(64);
  mkdirSync(join(root, 'run/caches', name), { recursive: true });
  mkdirSync(join(root, 'run/caches', 'd'.repeat(64)));
  {
    using _work = builder.leases.enter();
    builder.leases.hold('cache', name);
    pruneCache(pruner, { all: false });
    assert.deepEqual(readdirSync(join(root, 'run/caches')), [name]);
  }
  pruneCache(pruner, { all: false });
  assert.deepEqual(readdirSync(join(root, 'run/caches')), []);
});

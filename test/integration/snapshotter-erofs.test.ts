import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from '../suites/properties.ts';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { LayerStore } from '../../src/layer/layer.ts';
import { chooseDriver, erofsSupport } from '../../snapshotter/choice.ts';
import type { Driver } from '../../snapshotter/driver.ts';
import { indexTars } from '../../snapshotter/tar-calls.ts';
import { EMPTY_ROOT } from '../../snapshotter/root-attributes.ts';
import { openChosenSnapshotter, openSnapshotter } from '../../snapshotter/open.ts';
import type { SnapshotInfo, SnapshotName, Snapshotter } from '../../snapshotter/snapshotter.ts';
import {
  changeInside,
  describeTree,
  storeLayer,
  tarOf,
  temporaryDirectory,
  testHost,
  type Item,
} from '../suites/layer-fixture.ts';
import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

describeSnapshotter('erofs', { small: 0 });
describeSnapshotter('erofs', {}, 'erofs with small layers unpacked');

interface Stores {
  readonly path: string;
  readonly layers: LayerStore;
  open(driver: Driver): Snapshotter;
}

function storesIn(path: string): Stores {
  const layers = openLayerStore(join(path, 'layers'), testHost);
  const open = (driver: Driver): Snapshotter =>
    openSnapshotter({ root: path, host: testHost, layers, driver, small: 0 });
  return { path, layers, open };
}

async function applyAll(
  { layers }: Stores,
  snapshots: Snapshotter,
  stack: Iterable<readonly Item[]>,
): Promise<ChainID> {
  let name: ChainID | undefined;
  for (const items of stack) name = (await snapshots.apply(name, storeLayer(layers, tarOf(...items)))).name;
  assert.ok(name !== undefined);
  return name;
}

async function shown(snapshots: Snapshotter, name: ChainID): Promise<string[]> {
  await using view = await snapshots.view(name);
  return describeTree(view.mounts);
}

for (const driver of ['erofs', 'overlay'] as const)
  test(`a layer with a sparse file is unpacked, with its holes: ${driver}`, async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const size = 64 << 20;
    const source = join(temporary.path, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'sparse'), 'begin');
    truncateSync(join(source, 'sparse'), size);
    writeFileSync(join(source, 'other'), 'x'.repeat(2 << 20));
    const archive = execFileSync('tar', ['-c', '-S', '-C', source, 'sparse', 'other'], {
      maxBuffer: 1 << 24,
    });
    const snapshots = stores.open(driver);
    let name: ChainID | undefined;
    for (const tar of [tarOf({ path: 'below' }), archive])
      name = (await snapshots.apply(name, storeLayer(stores.layers, tar))).name;
    assert.ok(name !== undefined);
    assert.deepEqual(
      (await shown(snapshots, name)).map((line) => line.split(' ')[0]).filter((path) => path !== ''),
      ['below', 'other', 'sparse'],
    );
    const file = join(temporary.path, 'overlay/committed', name.slice(7), 'fs/sparse');
    assert.deepEqual([statSync(file).size, statSync(file).blocks < 100], [size, true]);
    assert.equal(readFileSync(file, 'latin1').slice(0, 6), 'begin\0');
  });

describe('deep stacks', () => {
  /** Each layer changes what others made: deletions, opaque directories, links, other types. */
  function* deepStack(count: number): Generator<readonly Item[]> {
    yield [
      { path: '', type: 'directory', mode: 0o711, mtime: 5 },
      { path: 'usr' },
      { path: 'usr/lib', mode: 0o2755, uid: 4 },
      { path: 'lib', type: 'symlink', linkname: 'usr/lib' },
      { path: 'd' },
    ];
    for (let i = 1; i < count; i += 1)
      yield [
        { path: `d/f${i}`, content: `${i}`, mtime: i },
        { path: `d/h${i}`, type: 'hardlink', linkname: `d/f${i}` },
        ...(i % 3 === 0 ? [{ path: `d/.wh.f${i - 1}`, content: '' }] : []),
        { path: `lib/so${i % 7}`, content: `${i}` },
        { path: `e${i % 5}` },
        ...(i % 11 === 0 ? [{ path: `e${i % 5}/.wh..wh..opq`, content: '' }] : []),
        { path: `e${i % 5}/x${i}`, content: '' },
        i % 2 === 0 ? { path: 'turn', content: `${i}` } : { path: 'turn', mode: 0o700 },
        ...(i % 2 === 0 ? [] : [{ path: `turn/${i}`, content: 'in' }]),
      ];
  }

  test('look as they do unpacked, and can be changed', async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const snapshots = stores.open('erofs');
    const name = await applyAll(stores, snapshots, deepStack(196));
    using elsewhere = temporaryDirectory();
    const others = storesIn(elsewhere.path);
    const unpacked = others.open('overlay');
    assert.equal(await applyAll(others, unpacked, deepStack(196)), name);
    const seen = await shown(snapshots, name);
    assert.deepEqual(seen, await shown(unpacked, name));
    // One where a stack begins to be deep, one 32 layers on.
    assert.equal(readdirSync(join(temporary.path, 'overlay/merged')).length, 2);

    await using active = await snapshots.prepare(name, { stubs: [{ path: '/proc', type: 'directory' }] });
    changeInside(active.mounts, 'rm -r d; echo changed > lib/new');
    const { snapshot } = await active.commit();
    assert.ok(existsSync(join(temporary.path, 'overlay/committed', snapshot.name.slice(7), 'index')));
    const names = (await shown(snapshots, snapshot.name)).map((line) => line.split(' ')[0] ?? '');
    assert.ok(names.includes('usr/lib/new') && !names.some((each) => /^d(\/|$)/.test(each)));
    for (let each: SnapshotName | undefined = snapshot.name; each !== undefined; ) {
      const { parent }: SnapshotInfo = (await snapshots.stat(each)) ?? assert.fail(each);
      await snapshots.remove(each);
      each = parent;
    }
    assert.deepEqual(readdirSync(join(temporary.path, 'overlay/merged')), []);
  });

  test('may have many layers that processes made', async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const snapshots = stores.open('erofs');
    let name = await applyAll(stores, snapshots, deepStack(100));
    for (let i = 0; i < 64; i += 1) {
      await using active = await snapshots.prepare(name);
      const [mount] = active.mounts;
      assert.ok(mount?.kind === 'overlay' && mount.upper !== undefined);
      writeFileSync(join(mount.upper, `made${i}`), '');
      name = (await active.commit({ maxMtime: 1 })).snapshot.name;
    }
    const names = (await shown(snapshots, name)).map((line) => line.split(' ')[0] ?? '');
    assert.equal(names.filter((each) => each.startsWith('made')).length, 64);
  });
});

describe('random stacks', () => {
  const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  const name = fc.constantFrom(
    'a',
    'b',
    'c',
    'l',
    '.wh.a',
    '.wh.b',
    '.wh.c',
    '.wh..wh..opq',
    '.wh.l',
    '..',
    'é\u00ff',
  );
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
  const item: fc.Arbitrary<Item> = fc
    .record({
      path,
      kind: fc.constantFrom('file', 'file', 'directory', 'directory', 'symlink', 'hardlink', 'fifo', 'char'),
      linkname: fc.oneof(
        path,
        path.map((target) => `/${target}`),
      ),
      content: fc.string({ maxLength: 3 }),
      mode: fc.constantFrom(0o755, 0o4711, 0o600, 0),
      uid: fc.constantFrom(0, 7, 70_000),
      mtime: fc.constantFrom(1_600_000_000, 5, -1),
      isCapable: fc.boolean(),
    })
    .map(({ path: at, kind, linkname, content, mode, uid, mtime, isCapable }): Item => {
      const common = { path: at, mode, uid, mtime };
      const link = at === '' || linkname === '' ? 'a' : linkname;
      if (kind === 'file') {
        const xattrs = isCapable ? { xattrs: new Map([['security.capability', CAPABILITY]]) } : {};
        return { ...common, content, ...xattrs };
      }
      if (kind === 'directory') return common;
      if (kind === 'symlink' || kind === 'hardlink') return { ...common, type: kind, linkname: link };
      return kind === 'fifo' ? { ...common, type: kind } : { ...common, type: 'char', major: 1, minor: 3 };
    });
  const stack = fc.array(fc.array(item, { maxLength: 7 }), { minLength: 1, maxLength: 4 });

  async function outcome(work: () => Promise<string[]>): Promise<readonly string[]> {
    try {
      return await work();
    } catch (error) {
      return [isTsbuildError(error) ? 'refused' : String(error)];
    }
  }

  test('look the same indexed, indexed in common, unpacked and copied', async () => {
    using temporary = temporaryDirectory();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(stack, async (items) => {
        const at = join(temporary.path, `${(round += 1)}`);
        const stores = storesIn(at);
        const by = (driver: Driver) => (): Promise<string[]> => {
          const snapshots = stores.open(driver);
          return applyAll(stores, snapshots, items).then((top) => shown(snapshots, top));
        };
        const seen = await outcome(by('copy'));
        assert.deepEqual(await outcome(by('erofs')), seen, 'erofs');
        // The other one would find what erofs has made.
        rmSync(join(at, 'overlay'), { recursive: true, force: true });
        assert.deepEqual(await outcome(by('overlay')), seen, 'overlay');
        const tars = items.map((each) => {
          const layer = storeLayer(stores.layers, tarOf(...each));
          return { path: layer.path ?? '', diffID: layer.diffID, verify: false };
        });
        const inCommon = async (): Promise<string[]> => {
          const index = join(at, 'index');
          await indexTars({ output: index, tars, root: EMPTY_ROOT });
          const image = {
            index,
            tars: tars.map((tar) => tar.path),
            device: 'file',
            attached: false,
          } as const;
          return describeTree([{ kind: 'overlay', lower: [image] }]);
        };
        // One layer alone keeps its deletions.
        if (items.length > 1) assert.deepEqual(await outcome(inCommon), seen, 'in common');
        rmSync(at, { recursive: true });
      }),
      { numRuns: 30 },
    );
  });
});

describe('a store of erofs and overlay', () => {
  const base: readonly (readonly Item[])[] = [
    [{ path: 'a', content: 'a' }, { path: 'd' }, { path: 'd/x', content: '' }],
    [{ path: 'd' }, { path: 'd/.wh.x', content: '' }, { path: 'd/y', content: '' }],
  ];

  test('what overlay unpacked is used by erofs as it is', async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const unpacked = await applyAll(stores, stores.open('overlay'), base);
    for (const diffID of [...stores.layers.list()]) stores.layers.remove(diffID);
    const snapshots = stores.open('erofs');
    assert.deepEqual((await snapshots.stat(unpacked))?.name, unpacked);
    const mixed = await snapshots.apply(
      unpacked,
      storeLayer(stores.layers, tarOf({ path: 'top', content: '' })),
    );
    const names = (await shown(snapshots, mixed.name)).map((line) => line.split(' ')[0]);
    assert.deepEqual(names, ['a', 'd', 'd/y', 'top']);
  });

  test('what erofs indexed is not there for overlay, which makes it again, and both go on', async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const [snapshots, overlay] = [stores.open('erofs'), stores.open('overlay')];
    const name = await applyAll(stores, snapshots, base);
    await using active = await snapshots.prepare(name);
    changeInside(active.mounts, 'echo x > run');
    const { snapshot } = await active.commit();
    // Its own files are a directory, those below it are not.
    assert.equal(await overlay.stat(snapshot.name), undefined);
    assert.equal(await overlay.stat(name), undefined);
    assert.equal(await applyAll(stores, overlay, base), name);
    assert.deepEqual(await overlay.stat(snapshot.name), snapshot);
    const seen = await shown(overlay, snapshot.name);
    assert.deepEqual(await shown(snapshots, snapshot.name), seen);
    assert.deepEqual(await overlay.check(), []);
    assert.deepEqual(readdirSync(join(temporary.path, 'overlay/staging')), []);
  });

  test('no driver removes what only the other one can see a use for', async () => {
    using temporary = temporaryDirectory();
    const stores = storesIn(temporary.path);
    const lower = await applyAll(stores, stores.open('overlay'), base.slice(0, 1));
    await stores.open('erofs').apply(lower, storeLayer(stores.layers, tarOf({ path: 'top', content: '' })));
    await assert.rejects(stores.open('overlay').remove(lower), (error) =>
      isTsbuildError(error, 'STORE_IN_USE'),
    );
  });
});

test('a snapshot keeps its tar when the layer store loses it', async () => {
  using temporary = temporaryDirectory();
  const stores = storesIn(temporary.path);
  const snapshots = stores.open('erofs');
  const layer = storeLayer(stores.layers, tarOf({ path: 'f', content: 'x'.repeat(100_000) }));
  const base = undefined;
  const { name } = await snapshots.apply(base, layer);
  const tar = join(temporary.path, 'overlay/committed', name.slice(7), 'tar');
  assert.equal(statSync(tar).ino, statSync(layer.path ?? '').ino);
  stores.layers.remove(layer.diffID);
  assert.match((await shown(stores.open('erofs'), name))[0] ?? '', /^f file 644 0:0 \d+ [0-9a-f]{12}$/);
});

describe('the choice of a driver', () => {
  test('is erofs on this machine, said with its reason and noted', async () => {
    using temporary = temporaryDirectory();
    const options = { root: temporary.path, host: testHost };
    const choice = await chooseDriver(options);
    assert.deepEqual(choice, { driver: 'erofs', reasons: ['mounts layers from their files'] });
    assert.deepEqual(await erofsSupport(options), { device: 'file', attached: false });
    assert.ok(existsSync(join(temporary.path, 'overlay/erofs.json')));
    assert.deepEqual(readdirSync(join(temporary.path, 'overlay/staging')), []);
    const { layers } = storesIn(temporary.path);
    assert.equal((await openChosenSnapshotter({ ...options, layers })).driver, 'erofs');
    assert.equal((await openChosenSnapshotter({ ...options, layers, driver: 'copy' })).driver, 'copy');
  });

  test('a note of other circumstances, or a damaged one, does not count', async () => {
    using temporary = temporaryDirectory();
    const options = { root: temporary.path, host: testHost };
    mkdirSync(join(temporary.path, 'overlay'));
    for (const note of [
      '',
      '[]',
      '{"circumstances":"another boot","usable":false,"reason":"none"}',
      '{"usable":true}',
    ]) {
      writeFileSync(join(temporary.path, 'overlay/erofs.json'), note);
      assert.equal((await chooseDriver(options)).driver, 'erofs');
    }
  });

  test('a refusal that was noted holds until somebody asks afresh', async () => {
    using temporary = temporaryDirectory();
    const options = { root: temporary.path, host: testHost };
    await chooseDriver(options);
    const path = join(temporary.path, 'overlay/erofs.json');
    const { circumstances } = JSON.parse(readFileSync(path, 'utf8')) as { circumstances: string };
    writeFileSync(path, JSON.stringify({ circumstances, usable: false, reason: 'for a test' }));
    assert.deepEqual(await chooseDriver(options), {
      driver: 'overlay',
      reasons: ['erofs cannot be used: for a test'],
    });
    assert.equal((await chooseDriver(options, true)).driver, 'erofs');
  });
});

/** Packing a COPY again from its earlier layer: the same bytes and digests, whatever changed, and only the rest hashed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { emptyTree, openDirectoryTree } from '../../src/layer/open-tree.ts';
import { CHECKPOINT_SIZE } from '../../src/layer/pack-plan.ts';
import type { Tree } from '../../src/layer/tree.ts';
import { carryOut } from '../../src/solver/exec/copy/carry-out.ts';
import { readContents } from '../../src/solver/exec/copy/contents.ts';
import { openEarlierLayers } from '../../src/solver/exec/copy/earlier-layers.ts';
import type { LayerPlan } from '../../src/solver/exec/copy/layer-plan.ts';
import { mountBtrfs, unmountBtrfs } from '../suites/btrfs.ts';
import { packBothWays, planOf } from '../suites/copy-fixture.ts';
import { testHost } from '../suites/layer-fixture.ts';
import { createRandom } from '../suites/random-tree.ts';

let root: string;
const signal = new AbortController().signal;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-repack-'));
});
afterEach(() => execFileSync('rm', ['-rf', root]));

const MIB = 1 << 20;

/** With all digests known. */
async function planAll(source: Tree): Promise<LayerPlan> {
  const { plan, gathered } = await planOf(source, emptyTree(), { from: ['.'], destination: '/x/' });
  await readContents({ tree: source }, gathered, signal);
  return plan;
}

const at = (path: string): string => join(root, 'ctx', path);

/** 400 files with 20 MiB in all, directories without any, and one of 9 MiB in the middle. */
function makeTree(): void {
  const random = createRandom(42);
  for (let directory = 10; directory < 30; directory += 1) {
    mkdirSync(at(`d${directory}`), { recursive: true });
    for (let file = 10; file < 30; file += 1)
      writeFileSync(
        at(`d${directory}/f${file}`),
        Buffer.alloc(random.below(100_000) + 1, `${directory} ${file}`),
      );
    symlinkSync('nowhere', at(`d${directory}/link`));
    writeFileSync(at(`d${directory}/empty`), '');
  }
  for (let index = 0; index < 1500; index += 1) mkdirSync(at(`d15-empty/${index}`), { recursive: true });
  writeFileSync(at('d20/large'), Buffer.alloc(9 * MIB + 77, 'large'));
  writeFileSync(at(`d22/${'long'.repeat(60)}`), 'a name that takes more than a header');
}

const EDITS: readonly (readonly [string, () => void])[] = [
  ['nothing', () => undefined],
  ['the first file', () => writeFileSync(at('d10/f10'), 'other')],
  ['a file in the middle, of the same size', () => writeFileSync(at('d19/f20'), Buffer.alloc(5000, 'a'))],
  ['that file again', () => writeFileSync(at('d19/f20'), Buffer.alloc(5000, 'b'))],
  ['the last file', () => appendFileSync(at('d29/f29'), 'more')],
  ['a mode', () => chmodSync(at('d25/f12'), 0o755)],
  ['a time', () => utimesSync(at('d14/f11'), 1000, 1000)],
  ['the large file, which grows', () => appendFileSync(at('d20/large'), 'x'.repeat(700))],
  ['the large file, within it', () => writeFileSync(at('d20/large'), Buffer.alloc(9 * MIB + 777, 'Large'))],
  ['a name', () => renameSync(at('d12/f15'), at('d12/f15-renamed'))],
  ['a directory more', () => mkdirSync(at('d11/new'))],
  ['a file less', () => rmSync(at('d13/f13'))],
  ['a file that is empty now', () => truncateSync(at('d16/f16'), 0)],
  ['a link', () => (rmSync(at('d18/link')), symlinkSync('elsewhere', at('d18/link')))],
  ['two files', () => (renameSync(at('d11/f11'), at('d11/f')), renameSync(at('d11/f12'), at('d11/f11')))],
];

/** Edits the tree by and by, and packs it each time from its earlier layer. */
async function repackAll(): Promise<void> {
  makeTree();
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  using source = openDirectoryTree(join(root, 'ctx'));
  for (const [what, edit] of [EDITS[0] ?? [], ...EDITS]) {
    edit?.();
    const plan = await planAll(source);
    using found = earlier.find(1);
    if (found !== undefined) {
      assert.ok(found.checkpoints.byteLength >= 4 * CHECKPOINT_SIZE, what);
      await packBothWays(plan, root, { earlier: found });
    }
    using writer = layers.create();
    const carriedOut = await carryOut(plan, writer, { signal, source: () => ({}), earlier, identity: 1 });
    carriedOut.keep(writer.commit().diffID);
  }
}

test('a layer that is made from an earlier one has the bytes and the digest of one that is not', repackAll);

test('where file systems share blocks, layers have the same bytes, and what they share is there once', async (t) => {
  const [home, mountpoint] = [root, join(root, 'mnt')];
  const missing = mountBtrfs(join(home, 'image'), mountpoint);
  if (missing !== undefined) {
    t.skip(missing);
    return;
  }
  try {
    root = mountpoint;
    await repackAll();
    const du = execFileSync('btrfs', ['filesystem', 'du', '-s', '--raw', join(root, 'layers')], {
      encoding: 'utf8',
    });
    const [total = 0, exclusive = 0] = (du.split('\n')[1] ?? '').trim().split(/\s+/).map(Number);
    assert.ok(total > 10 * 30 * MIB, du);
    assert.ok(exclusive < total / 2, du);
  } finally {
    root = home;
    unmountBtrfs(mountpoint);
  }
});

/** Packs the tree from its earlier layer, whose checkpoints are all wrong; whether the digest is that of the bytes. */
async function isDigestTrue(source: Tree): Promise<boolean> {
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  using found = earlier.find(1);
  assert.ok(found !== undefined);
  const checkpoints = Buffer.from(found.checkpoints);
  for (let lie = 8; lie < checkpoints.byteLength; lie += CHECKPOINT_SIZE) checkpoints.fill(1, lie, lie + 32);
  const { fd, contents } = found;
  const plan = await planAll(source);
  return await packBothWays(plan, root, {
    earlier: { fd, contents, checkpoints, find: (...args) => found.find(...args) },
  }).then(
    () => true,
    (error: unknown) => {
      assert.match(String(error), /sha256:/);
      return false;
    },
  );
}

test('what an earlier layer begins with is not hashed again, and all after a change is', async () => {
  makeTree();
  using source = openDirectoryTree(join(root, 'ctx'));
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  using writer = layers.create();
  const carriedOut = await carryOut(await planAll(source), writer, { signal, earlier, identity: 1 });
  carriedOut.keep(writer.commit().diffID);
  const [bytes, { atime, mtime }] = [readFileSync(at('d10/f10')), statSync(at('d10/f10'))];
  writeFileSync(at('d10/f10'), 'other');
  assert.equal(await isDigestTrue(source), true, 'a checkpoint after the first change was used');
  writeFileSync(at('d10/f10'), bytes);
  utimesSync(at('d10/f10'), atime, mtime);
  appendFileSync(at('d29/f29'), 'more');
  assert.equal(await isDigestTrue(source), false, 'no checkpoint was used');
});

test('an earlier layer whose file was changed or cut is not taken from', async () => {
  makeTree();
  using source = openDirectoryTree(join(root, 'ctx'));
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  const pack = async (): Promise<string> => {
    using writer = layers.create();
    const carriedOut = await carryOut(await planAll(source), writer, { signal, earlier, identity: 1 });
    const layer = writer.commit();
    carriedOut.keep(layer.diffID);
    return layer.path ?? '';
  };
  const damage: readonly ((path: string) => void)[] = [
    (path) => {
      const fd = openSync(path, 'r+');
      writeSync(fd, 'damaged!', 3 * MIB);
      closeSync(fd);
    },
    (path) => truncateSync(path, 5 * MIB),
  ];
  for (const [index, harm] of damage.entries()) {
    harm(await pack());
    assert.equal(earlier.find(1), undefined);
    appendFileSync(at('d29/f29'), `${index}`);
    const path = await pack();
    const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
    assert.ok(path.endsWith(`${digest.slice(2)}.tar`), `${path} is ${digest}`);
  }
});

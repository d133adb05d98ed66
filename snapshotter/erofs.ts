/**
 * Driver `erofs`: a layer is never unpacked. Beside its tar lies an index, an EROFS image whose files' contents are the
 * tar's own blocks, and a state is an overlay of such images. Removing a layer is unlinking two files.
 *
 * It shares its store with `overlay`: what was unpacked there, what a process changed, layers of a few files, which
 * cost less unpacked than mounted, and layers with sparse files are directories; stacks are mixed. Deep stacks have one
 * index for all layers at their bottom, so none is deeper than overlayfs takes:
 *
 *   committed/<chainID hex>/index, tar   the image, and a hard link of the layer's tar
 *   merged/<chainID hex>/index           the image of a state, over the tars of all its layers
 */
import { copyFileSync, constants, existsSync, linkSync, mkdirSync, renameSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerImage, Lower } from '../native/mount.ts';
import { closeImage } from '../native/overlay.ts';
import { hexOf, isDiffID } from '../src/base/digest.ts';
import { errnoOf, ioError, TsbuildError } from '../src/base/errors.ts';
import type { Layer } from '../src/layer/layer.ts';
import type { ErofsSupport } from './erofs-probe.ts';
import { openLowers } from './open-lowers.ts';
import { EMPTY_ROOT, parseRootNote, readRoot, rootNote, type RootAttributes } from './root-attributes.ts';
import type { SnapshotInfo, SnapshotName, Snapshotter } from './snapshotter.ts';
import { createStackedSnapshotter, shownOf, type DriverOptions, type StackedDriver } from './stacked.ts';
import { openSnapshotStore } from './store.ts';
import { indexTars, SparseTar, type IndexedTar } from './tar-calls.ts';
import { unpackSnapshot } from './unpacked.ts';
import { verifiedTar } from './verified-tar.ts';
import { removeTree } from '../src/base/remove-tree.ts';

/** Bytes of a tar that this process wrote itself below which its few files are unpacked. */
const SMALL = 1 << 16;
/** More layers than this are not mounted for a tar that may not need them. */
const MANY = 32;
/**
 * A stack of so many layers has a common index at its bottom. overlayfs takes 500; but mounting takes time for each of
 * them, and only odd images have more than 127 (what docker's old drivers took).
 */
const DEEPEST = 160;
/** Of a deep stack so many layers at the top, up to twice as many, stay apart: the index is made once in so many layers. */
const APART = 32;
/** From here on what a process changed is kept as a layer: its tar is needed when it comes to lie at the bottom. */
const DEEP = DEEPEST - 2 * APART;

export interface ErofsOptions extends DriverOptions {
  /** How the kernel mounts images. Throws KERNEL_UNSUPPORTED. */
  readonly support: () => ErofsSupport | Promise<ErofsSupport>;
  /** Bytes; layers below are unpacked, see SMALL. */
  readonly small?: number;
}

export function createErofsSnapshotter(options: ErofsOptions): Snapshotter {
  const { root, host, layers, support, small = SMALL } = options;
  const store = openSnapshotStore(root, host, ['index', 'fs'], options.retention);
  const merging = new Map<SnapshotName, Promise<void>>();
  const mergedAt = (name: SnapshotName): string => join(root, 'merged', hexOf(name));

  async function imageOf(index: string, tars: readonly string[]): Promise<LayerImage> {
    return { index, tars, ...(await support()) };
  }

  async function lowerOf(name: SnapshotName): Promise<Lower> {
    if (store.formOf(name) !== 'index') return store.filesOf(name);
    const place = store.placeOf(name);
    return imageOf(join(place, 'index'), [join(place, 'tar')]);
  }

  function tarOf(name: SnapshotName): IndexedTar {
    const noted = store.notesOf(name)['diffID'];
    const diffID = typeof noted === 'string' && isDiffID(noted) ? noted : undefined;
    const own = join(store.placeOf(name), 'tar');
    const path = existsSync(own) ? own : diffID === undefined ? undefined : layers.get(diffID)?.path;
    if (diffID === undefined || path === undefined)
      throw new TsbuildError(
        'KERNEL_UNSUPPORTED',
        `the stack is deep, and the layer of snapshot ${name} is not at hand`,
        { hint: 'build again with --no-cache' },
      );
    return { path, diffID, verify: false };
  }

  /** One image for a state and all that is below it. */
  async function mergedImage(bottom: readonly SnapshotName[]): Promise<LayerImage> {
    const [top] = bottom;
    const tars = bottom.map(tarOf).reverse();
    if (top !== undefined && !existsSync(join(mergedAt(top), 'index'))) {
      const running = merging.get(top) ?? merge(top, tars).finally(() => merging.delete(top));
      merging.set(top, running);
      await running;
    }
    const index = top === undefined ? '' : join(mergedAt(top), 'index');
    return imageOf(
      index,
      tars.map(({ path }) => path),
    );
  }

  async function merge(top: SnapshotName, tars: readonly IndexedTar[]): Promise<void> {
    const staged = store.stage();
    try {
      await indexTars({ output: join(staged, 'index'), tars, root: EMPTY_ROOT });
      mkdirSync(join(root, 'merged'), { recursive: true, mode: 0o700 });
      renameSync(staged, mergedAt(top));
    } catch (error) {
      removeTree(staged);
      const errno = errnoOf(error);
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw ioError('index a stack of layers', error);
    }
  }

  async function lowersOf(name: SnapshotName): Promise<readonly Lower[]> {
    const chain = shownOf(store, name);
    if (chain.length < DEEPEST) return Promise.all(chain.map(lowerOf));
    const apart = APART + (chain.length % APART);
    const bottom = await mergedImage(chain.slice(apart));
    return [...(await Promise.all(chain.slice(0, apart).map(lowerOf))), bottom];
  }

  function rootOf(name: SnapshotName | undefined): RootAttributes {
    if (name === undefined) return EMPTY_ROOT;
    if (store.formOf(store.require(name).name) !== 'index') return readRoot(store.filesOf(name));
    return parseRootNote(store.notesOf(name)['root']) ?? EMPTY_ROOT;
  }

  async function makeIndex(info: SnapshotInfo, layer: Layer): Promise<SnapshotInfo> {
    const { parent } = info;
    const staged = store.stage();
    try {
      const isVerified = await placeTar(layer, join(staged, 'tar'));
      const made = await indexTars({
        output: join(staged, 'index'),
        tars: [{ path: join(staged, 'tar'), diffID: layer.diffID, verify: !isVerified }],
        root: rootOf(parent),
        ...(parent === undefined ? {} : { below: async () => openLowers(await lowersOf(parent)) }),
        isBelowDear: store.chain(parent).length >= MANY,
      });
      const notes = { diffID: layer.diffID, root: rootNote(made.root), hidesParents: made.hidesParents };
      return store.commit(staged, info, notes);
    } catch (error) {
      removeTree(staged);
      if (error instanceof SparseTar) return unpack(info, layer);
      throw ioError('index a layer', error);
    }
  }

  async function unpack(info: SnapshotInfo, layer: Layer): Promise<SnapshotInfo> {
    const lowers = info.parent === undefined ? [] : await lowersOf(info.parent);
    return unpackSnapshot(store, info, layer, { lowers, root: rootOf(info.parent) });
  }

  const driver: StackedDriver = {
    name: 'erofs',
    store,
    lowersOf,
    rootOf,
    async make(parent, layer, name) {
      if (parent !== undefined) store.require(parent);
      const isUnpacked = layer.isOwn === true && layer.size < small;
      return isUnpacked ? unpack({ name, parent }, layer) : makeIndex({ name, parent }, layer);
    },
    isKeptAsLayer: (parent) => store.chain(parent).length >= DEEP,
  };
  const snapshots = createStackedSnapshotter(options, driver);
  return {
    ...snapshots,
    async remove(name) {
      await snapshots.remove(name);
      closeImage(join(store.placeOf(name), 'index'));
      closeImage(join(mergedAt(name), 'index'));
      removeTree(mergedAt(name));
    },
  };
}

const MAX_TRIES = 100;

/**
 * why again: another process that has made the same layer puts its tar in the place of this one, and link(2) does not take a
 * file that has just lost its name.
 */
function linkTar(from: string, to: string): void {
  for (let tries = 1; ; tries += 1)
    try {
      linkSync(from, to);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || tries === MAX_TRIES || !existsSync(from)) throw error;
    }
}

/** Puts a layer's tar where it stays as long as its index; true where its digest has been compared on the way. */
async function placeTar(layer: Layer, path: string): Promise<boolean> {
  if (layer.path !== undefined) {
    try {
      linkTar(layer.path, path);
    } catch (error) {
      // Another file system, or more links than this one takes.
      if (errnoOf(error) === 'ENOENT') throw error;
      copyFileSync(layer.path, path, constants.COPYFILE_FICLONE);
    }
    return layer.isOwn === true;
  }
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of verifiedTar(layer)) await file.writeFile(chunk);
  } finally {
    await file.close();
  }
  return true;
}

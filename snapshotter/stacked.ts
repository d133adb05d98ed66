/**
 * What drivers share whose states are overlays: a snapshot holds its own layer alone, a state is a stack of them.
 *
 * With metacopy, redirect_dir, index and xino off the upper directory is the change itself (kernel
 * Documentation/filesystems/overlayfs.rst), so committing is packing it and renaming it. Places that must exist
 * for mounts lie in a directory below all layers: they show where nothing hides them and never reach a layer.
 */
import { existsSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Lower, OverlayMount } from '../native/mount.ts';
import { chainIDOf } from '../src/base/digest.ts';
import { ioError, TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import type { Retention } from '../src/base/retention.ts';
import type { Layer, LayerStore, OnPacking } from '../src/layer/layer.ts';
import { openDirectoryTree, openTree } from '../src/layer/open-tree.ts';
import type { Tree } from '../src/layer/tree.ts';
import { packUpperLayer } from '../src/layer/upper-layer.ts';
import { setRoot, type RootAttributes } from './root-attributes.ts';
import type {
  ActiveSnapshot,
  MountStub,
  PrepareOptions,
  SnapshotInfo,
  SnapshotName,
  Snapshotter,
} from './snapshotter.ts';
import type { SnapshotStore } from './store.ts';
import { keptElsewhere, storedSnapshots } from './stored.ts';
import { stubDirectory } from './stubs.ts';
import { removeTree } from '../src/base/remove-tree.ts';

export interface DriverOptions {
  readonly root: string;
  readonly host: Host;
  readonly layers: LayerStore;
  readonly retention?: Retention;
}

export interface StackedDriver {
  readonly name: string;
  readonly store: SnapshotStore;
  /** See OverlayMount. */
  readonly program?: string | undefined;
  /** Takes away from an upper directory what is no change of `below`. */
  settle?(upper: string, below: Tree): void;
  /** Of a state: its layers, topmost first. */
  lowersOf(name: SnapshotName): Promise<readonly Lower[]>;
  rootOf(name: SnapshotName | undefined): RootAttributes;
  /** Makes what is not there; called once at a time for a name. */
  make(parent: SnapshotName | undefined, layer: Layer, name: SnapshotName): Promise<SnapshotInfo>;
  /** Whether what a process changed is kept as the layer that it becomes, not as the directory that it is. */
  isKeptAsLayer(parent: SnapshotName | undefined): boolean;
}

/**
 * The snapshots of which something shows in a state, topmost first.
 *
 * why: overlayfs does not look whether the root of a layer is opaque.
 */
export function shownOf(store: SnapshotStore, name: SnapshotName): readonly SnapshotName[] {
  const chain = store.chain(name);
  const last = chain.findIndex((each) => store.notesOf(each)['hidesParents'] === true);
  return last < 0 ? chain : chain.slice(0, last + 1);
}

/** Directories that a volatile overlay leaves in its work directory, from the inside out. */
const WORK = ['work/incompat/volatile', 'work/incompat', 'work', ''];

/** why not at once as a tree: looking what is there takes as long again. */
function removeWork(work: string): void {
  try {
    unlinkSync(join(work, 'work/incompat/volatile/dirty'));
    for (const each of WORK) rmdirSync(join(work, each));
  } catch {
    removeTree(work);
  }
}

/** As overlayfs has it: OVL_MAX_STACK. */
const MAX_LOWER = 500;
const never = new AbortController().signal;

export function createStackedSnapshotter(
  { root, host, layers }: DriverOptions,
  driver: StackedDriver,
): Snapshotter {
  const { store } = driver;
  const shownBy = driver.program === undefined ? {} : { program: driver.program };
  const applying = new Map<SnapshotName, Promise<SnapshotInfo>>();

  async function lowersOf(name: SnapshotName | undefined): Promise<readonly Lower[]> {
    if (name === undefined) return [];
    store.require(name);
    return driver.lowersOf(name);
  }

  async function lowersWithStubs(
    name: SnapshotName | undefined,
    stubs: readonly MountStub[],
  ): Promise<readonly Lower[]> {
    const lower = await lowersOf(name);
    if (lower.length + 1 > MAX_LOWER)
      throw new TsbuildError(
        'KERNEL_UNSUPPORTED',
        `${lower.length} layers are more than overlayfs takes (${MAX_LOWER - 1})`,
        { hint: 'join some RUN instructions, or start from an image with fewer layers' },
      );
    return [...lower, stubDirectory(join(root, 'stubs'), () => store.stage(), stubs)];
  }

  async function viewMount(name: SnapshotName | undefined): Promise<OverlayMount> {
    return {
      kind: 'overlay',
      ...shownBy,
      lower: await (name === undefined ? lowersWithStubs(name, []) : lowersOf(name)),
    };
  }

  function apply(parent: SnapshotName | undefined, layer: Layer): Promise<SnapshotInfo> {
    const name = chainIDOf(parent, layer.diffID);
    const running = applying.get(name);
    if (running !== undefined) return running;
    const promise = driver.make(parent, layer, name).finally(() => applying.delete(name));
    applying.set(name, promise);
    return promise;
  }

  async function prepare(
    parent: SnapshotName | undefined,
    { stubs = [], home, volatile = home === undefined }: PrepareOptions,
  ): Promise<ActiveSnapshot> {
    const lower = await lowersWithStubs(parent, stubs);
    const staged = home ?? store.stage();
    const [upper, work] = [join(staged, 'fs'), join(staged, 'work')];
    if (home === undefined || !existsSync(upper))
      try {
        mkdirSync(upper, { recursive: true, mode: 0o755 });
        setRoot(upper, driver.rootOf(parent));
        mkdirSync(work, { recursive: true, mode: 0o700 });
      } catch (error) {
        if (home === undefined) removeTree(staged);
        throw ioError('begin a snapshot', error);
      }
    // why: the kernel refuses a directory that was mounted volatile once; what it holds is right or gone with a crash.
    if (home !== undefined) removeTree(join(work, 'work/incompat'));
    let open = home === undefined;
    const discard = (): void => {
      if (open) removeTree(staged);
      open = false;
    };

    async function pack(maxMtime: number | undefined, onPacking: OnPacking | undefined): Promise<Layer> {
      using below = openTree([await viewMount(parent)]);
      driver.settle?.(upper, below);
      using changes = openDirectoryTree(upper);
      using writer = layers.create();
      await packUpperLayer(changes, below, writer, {
        signal: never,
        now: () => host.now(),
        ...(maxMtime === undefined ? {} : { maxMtime }),
        onPacking,
      });
      return writer.commit();
    }

    return {
      mounts: [{ kind: 'overlay', ...shownBy, lower, upper, work, volatile }],
      async commit({ maxMtime, onPacking } = {}) {
        if (home !== undefined) throw keptElsewhere();
        const layer = await pack(maxMtime, onPacking);
        const name = chainIDOf(parent, layer.diffID);
        // why: what was written has times that the layer has not, and others who use the step see those of the layer.
        if (maxMtime !== undefined || driver.isKeptAsLayer(parent)) {
          discard();
          return { layer, snapshot: store.info(name) ?? (await apply(parent, layer)) };
        }
        removeWork(work);
        setRoot(upper, driver.rootOf(parent));
        open = false;
        return { layer, snapshot: store.commit(staged, { name, parent }, { diffID: layer.diffID }) };
      },
      [Symbol.asyncDispose]() {
        discard();
        return Promise.resolve();
      },
    };
  }

  return {
    ...storedSnapshots(store),
    driver: driver.name,
    async apply(parent, layer) {
      return store.info(chainIDOf(parent, layer.diffID)) ?? (await apply(parent, layer));
    },
    prepare: (parent, options = {}) => prepare(parent, options),
    view: async (name) => ({
      mounts: [await viewMount(name)],
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  };
}

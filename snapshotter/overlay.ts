/**
 * Driver `overlay`: each snapshot is the directory of its own layer, a state is an overlay of them.
 *
 * With metacopy, redirect_dir, index and xino off the upper directory is the change itself (kernel
 * Documentation/filesystems/overlayfs.rst), so committing is packing it and renaming it. Places that must exist
 * for mounts lie in a directory below all layers: they show where nothing hides them and never reach a layer.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chainIDOf } from '../src/base/digest.ts';
import { ioError, TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import type { Layer, LayerStore } from '../src/layer/layer.ts';
import { openDirectoryTree, openTree } from '../src/layer/open-tree.ts';
import { packUpper } from '../src/layer/pack.ts';
import { readTar } from '../src/layer/tar-reader.ts';
import { unpackLayer } from '../src/layer/unpack.ts';
import type { OverlayMount } from '../native/mount.ts';
import type {
  ActiveSnapshot,
  MountStub,
  PrepareOptions,
  SnapshotInfo,
  SnapshotName,
  Snapshotter,
} from './snapshotter.ts';
import { inheritRoot } from './root-attributes.ts';
import { openSnapshotStore } from './store.ts';
import { keptElsewhere, promiseOf, storedSnapshots } from './stored.ts';
import { stubDirectory } from './stubs.ts';
import { verifiedTar } from './verified-tar.ts';

export interface DriverOptions {
  readonly root: string;
  readonly host: Host;
  readonly layers: LayerStore;
}

/** As overlayfs has it: OVL_MAX_STACK. */
const MAX_LOWER = 500;
const never = new AbortController().signal;

export function createOverlaySnapshotter({ root, host, layers }: DriverOptions): Snapshotter {
  const store = openSnapshotStore(root, host);
  const applying = new Map<SnapshotName, Promise<SnapshotInfo>>();

  function filesOf(name: SnapshotName | undefined): string | undefined {
    return name === undefined ? undefined : store.filesOf(store.require(name).name);
  }

  function lowerOf(name: SnapshotName | undefined, stubs: readonly MountStub[]): readonly string[] {
    const lower = store.chain(name).map((each) => store.filesOf(each));
    if (lower.length + 1 > MAX_LOWER)
      throw new TsbuildError(
        'KERNEL_UNSUPPORTED',
        `${lower.length} layers are more than overlayfs takes (${MAX_LOWER - 1})`,
        {
          hint: 'join some RUN instructions, or start from an image with fewer layers',
        },
      );
    return [...lower, stubDirectory(join(root, 'stubs'), () => store.stage(), stubs)];
  }

  function viewMount(name: SnapshotName | undefined): OverlayMount {
    return {
      kind: 'overlay',
      lower: name === undefined ? lowerOf(name, []) : store.chain(name).map((each) => store.filesOf(each)),
    };
  }

  async function unpack(
    parent: SnapshotName | undefined,
    layer: Layer,
    name: SnapshotName,
  ): Promise<SnapshotInfo> {
    if (parent !== undefined) store.require(parent);
    const staged = store.stage();
    let parentTree: ReturnType<typeof openTree> | undefined;
    try {
      const files = join(staged, 'fs');
      mkdirSync(files, { mode: 0o755 });
      inheritRoot(files, filesOf(parent));
      await unpackLayer(readTar(verifiedTar(layer)), files, {
        mode: 'overlay',
        parent: () => (parentTree ??= openTree([viewMount(parent)])),
        signal: never,
      });
      return store.commit(staged, { name, parent });
    } catch (error) {
      rmSync(staged, { recursive: true, force: true });
      throw ioError('unpack a layer', error);
    } finally {
      parentTree?.[Symbol.dispose]();
    }
  }

  function prepare(
    parent: SnapshotName | undefined,
    { stubs = [], home, volatile = home === undefined }: PrepareOptions,
  ): ActiveSnapshot {
    const lower = lowerOf(parent, stubs);
    const staged = home ?? store.stage();
    const [upper, work] = [join(staged, 'fs'), join(staged, 'work')];
    if (home === undefined || !existsSync(upper)) {
      mkdirSync(upper, { recursive: true, mode: 0o755 });
      inheritRoot(upper, filesOf(parent));
      mkdirSync(work, { recursive: true, mode: 0o700 });
    }
    // why: the kernel refuses a directory that was mounted volatile once; what it holds is right or gone with a crash.
    if (home !== undefined) rmSync(join(work, 'work/incompat'), { recursive: true, force: true });
    let open = home === undefined;
    return {
      mounts: [{ kind: 'overlay', lower, upper, work, volatile }],
      async commit({ maxMtime } = {}) {
        if (home !== undefined) throw keptElsewhere();
        using changes = openDirectoryTree(upper);
        using below = openTree([viewMount(parent)]);
        using writer = layers.create();
        await packUpper(changes, below, writer, {
          signal: never,
          now: () => host.now(),
          ...(maxMtime === undefined ? {} : { maxMtime }),
        });
        const layer = writer.commit();
        rmSync(work, { recursive: true, force: true });
        inheritRoot(upper, filesOf(parent));
        open = false;
        return { layer, snapshot: store.commit(staged, { name: chainIDOf(parent, layer.diffID), parent }) };
      },
      [Symbol.asyncDispose]() {
        if (open) rmSync(staged, { recursive: true, force: true });
        open = false;
        return Promise.resolve();
      },
    };
  }

  return {
    ...storedSnapshots(store),
    driver: 'overlay',
    async apply(parent, layer) {
      const name = chainIDOf(parent, layer.diffID);
      const existing = store.info(name);
      if (existing !== undefined) return existing;
      const running = applying.get(name);
      if (running !== undefined) return running;
      const promise = unpack(parent, layer, name).finally(() => applying.delete(name));
      applying.set(name, promise);
      return promise;
    },
    prepare: (parent, options = {}) => promiseOf(() => prepare(parent, options)),
    view: (name) =>
      promiseOf(() => ({ mounts: [viewMount(name)], [Symbol.asyncDispose]: () => Promise.resolve() })),
  };
}

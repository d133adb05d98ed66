/**
 * What the drivers share whose snapshots are complete trees: each a changed copy of its parent. How a tree is copied is what
 * they differ in.
 */
import { existsSync, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chainIDOf } from '../src/base/digest.ts';
import { ioError } from '../src/base/errors.ts';
import { emptyTree, openDirectoryTree } from '../src/layer/open-tree.ts';
import { packDifference } from '../src/layer/pack.ts';
import { readTar } from '../src/layer/tar-reader.ts';
import { unpackLayer } from '../src/layer/unpack.ts';
import type { DriverOptions } from './stacked.ts';
import { inheritRoot } from './root-attributes.ts';
import type { ActiveSnapshot, MountStub, SnapshotInfo, SnapshotName, Snapshotter } from './snapshotter.ts';
import type { Layer } from '../src/layer/layer.ts';
import { openSnapshotStore } from './store.ts';
import { keptElsewhere, promiseOf, storedSnapshots } from './stored.ts';
import { noteStubs } from './noted-stubs.ts';
import { placeStubs } from './stubs.ts';
import { verifiedTar } from './verified-tar.ts';
import { removeTree } from '../src/base/remove-tree.ts';

const never = new AbortController().signal;

export interface WholeTrees {
  readonly name: string;
  /** Makes the empty directory `fs` in one that is private. */
  make(directory: string): void;
  /** Makes `fs` in a private directory, as `from` is. */
  copy(from: string, directory: string): Promise<void>;
  /** Takes away what need not be removed file by file in a directory that goes; the rest is removed after that. */
  clear?(directory: string): void;
  /** Whether copies of a tree that a process changed are as it is. */
  isWhole?(files: string): boolean;
}

export function createWholeSnapshotter(
  { root, host, layers, retention }: DriverOptions,
  trees: WholeTrees,
): Snapshotter {
  const clear = (directory: string): void => trees.clear?.(directory);
  const store = openSnapshotStore(root, host, ['fs'], retention, clear);
  const empty = join(root, 'empty');
  mkdirSync(empty, { recursive: true });

  function discard(staged: string): void {
    clear(staged);
    removeTree(staged);
  }

  async function stageCopy(parent: SnapshotName | undefined): Promise<{ staged: string; files: string }> {
    const staged = store.stage();
    const files = join(staged, 'fs');
    try {
      if (parent === undefined) {
        trees.make(staged);
        inheritRoot(files, undefined);
      } else await trees.copy(store.filesOf(store.require(parent).name), staged);
    } catch (error) {
      discard(staged);
      throw ioError('copy a snapshot', error);
    }
    return { staged, files };
  }

  async function prepareAt(
    home: string,
    parent: SnapshotName | undefined,
    stubs: readonly MountStub[],
  ): Promise<ActiveSnapshot> {
    const source = join(home, 'fs');
    if (!existsSync(source)) {
      const { staged, files } = await stageCopy(parent);
      mkdirSync(home, { recursive: true, mode: 0o700 });
      renameSync(files, source);
      discard(staged);
    }
    noteStubs(home, placeStubs(source, stubs).leave(), host);
    return {
      mounts: [{ kind: 'bind', source, readonly: false }],
      commit: () => Promise.reject(keptElsewhere()),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  async function apply(parent: SnapshotName | undefined, layer: Layer): Promise<SnapshotInfo> {
    const name = chainIDOf(parent, layer.diffID);
    const existing = store.info(name);
    if (existing !== undefined) return existing;
    const { staged, files } = await stageCopy(parent);
    try {
      await unpackLayer(readTar(verifiedTar(layer)), files, {
        mode: 'plain',
        parent: emptyTree,
        signal: never,
      });
      return store.commit(staged, { name, parent });
    } catch (error) {
      discard(staged);
      throw ioError('unpack a layer', error);
    }
  }

  return {
    ...storedSnapshots(store),
    driver: trees.name,
    apply,
    async prepare(parent, options = {}) {
      if (options.home !== undefined) return prepareAt(options.home, parent, options.stubs ?? []);
      const { staged, files } = await stageCopy(parent);
      const stubs = placeStubs(files, options.stubs ?? []);
      const untouchedBeforeNs = clockOf(staged);
      let open = true;
      const active: ActiveSnapshot = {
        mounts: [{ kind: 'bind', source: files, readonly: false }],
        async commit({ maxMtime } = {}) {
          stubs.remove();
          inheritRoot(files, parent === undefined ? undefined : store.filesOf(parent));
          using before = parent === undefined ? emptyTree() : openDirectoryTree(store.filesOf(parent));
          using after = openDirectoryTree(files);
          using writer = layers.create();
          const { isWhole } = await packDifference(before, after, writer, {
            signal: never,
            untouchedBeforeNs,
            now: () => host.now(),
            ...(maxMtime === undefined ? {} : { maxMtime }),
          });
          const layer = writer.commit();
          // why: what was written has times that the layer has not, and others who use the step see those of the layer.
          if (maxMtime !== undefined || !isWhole || trees.isWhole?.(files) === false)
            return { layer, snapshot: await apply(parent, layer) };
          open = false;
          return { layer, snapshot: store.commit(staged, { name: chainIDOf(parent, layer.diffID), parent }) };
        },
        [Symbol.asyncDispose]() {
          if (open) discard(staged);
          open = false;
          return Promise.resolve();
        },
      };
      return active;
    },
    view: (name) =>
      promiseOf(() => {
        const source = name === undefined ? empty : store.filesOf(store.require(name).name);
        return {
          mounts: [{ kind: 'bind', source, readonly: true }],
          [Symbol.asyncDispose]: () => Promise.resolve(),
        };
      }),
  };
}

/** The time (ns) that the file system gives a file which changes now. */
function clockOf(staged: string): bigint {
  const marker = join(staged, 'clock');
  writeFileSync(marker, '');
  const { ctimeNs } = lstatSync(marker, { bigint: true });
  rmSync(marker);
  return ctimeNs;
}

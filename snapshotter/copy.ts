/**
 * Driver `copy`: every snapshot is a complete copy of its parent, changed. Slow and obvious: the oracle that the
 * other drivers are held against, and the last resort where no overlay can be mounted.
 */
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chainIDOf } from '../src/base/digest.ts';
import { ioError } from '../src/base/errors.ts';
import { emptyTree, openDirectoryTree } from '../src/layer/open-tree.ts';
import { packDifference } from '../src/layer/pack.ts';
import { readTar } from '../src/layer/tar-reader.ts';
import { unpackLayer } from '../src/layer/unpack.ts';
import type { DriverOptions } from './overlay.ts';
import { inheritRoot } from './root-attributes.ts';
import type { ActiveSnapshot, MountStub, SnapshotName, Snapshotter } from './snapshotter.ts';
import { openSnapshotStore } from './store.ts';
import { keptElsewhere, promiseOf, storedSnapshots } from './stored.ts';
import { placeStubs } from './stubs.ts';
import { verifiedTar } from './verified-tar.ts';

const never = new AbortController().signal;

export function createCopySnapshotter({ root, host, layers }: DriverOptions): Snapshotter {
  const store = openSnapshotStore(root, host);
  const empty = join(root, 'empty');
  mkdirSync(empty, { recursive: true });

  async function stageCopy(parent: SnapshotName | undefined): Promise<{ staged: string; files: string }> {
    const staged = store.stage();
    const files = join(staged, 'fs');
    try {
      if (parent === undefined) {
        mkdirSync(files, { mode: 0o755 });
        inheritRoot(files, undefined);
      } else await copyTree(store.filesOf(store.require(parent).name), files);
    } catch (error) {
      rmSync(staged, { recursive: true, force: true });
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
      rmSync(staged, { recursive: true, force: true });
    }
    placeStubs(source, stubs);
    return {
      mounts: [{ kind: 'bind', source, readonly: false }],
      commit: () => Promise.reject(keptElsewhere()),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  return {
    ...storedSnapshots(store),
    driver: 'copy',
    async apply(parent, layer) {
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
        rmSync(staged, { recursive: true, force: true });
        throw ioError('unpack a layer', error);
      }
    },
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
          await packDifference(before, after, writer, {
            signal: never,
            untouchedBeforeNs,
            now: () => host.now(),
            ...(maxMtime === undefined ? {} : { maxMtime }),
          });
          const layer = writer.commit();
          open = false;
          return { layer, snapshot: store.commit(staged, { name: chainIDOf(parent, layer.diffID), parent }) };
        },
        [Symbol.asyncDispose]() {
          if (open) rmSync(staged, { recursive: true, force: true });
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

/** cp(1), ended with tsbuild (setpriv), keeps hard links, devices, xattrs and times, and shares blocks where the file system can. */
async function copyTree(from: string, to: string): Promise<void> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'cp', '-a', '--reflink=auto', '--', from, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint = (complaint + data.toString()).slice(0, 4096)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return;
  const [reason = 'cp failed'] = complaint.split('\n', 1);
  const full = /No space left on device|Disk quota exceeded/.test(reason);
  throw ioError('copy a snapshot', Object.assign(new Error(reason), full ? { code: 'ENOSPC' } : {}));
}

/**
 * Cache mounts: directories that RUN finds again in later builds. Their name is made of what the Dockerfile says of
 * them, so that it is the same on every machine.
 *
 * Whoever uses one holds a lock on its directory, which dies with its holder: a directory that nobody uses may be
 * exchanged (src/engine/cache/mounts) or removed.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, hexOf, type DiffID } from '../../base/digest.ts';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf, ioError, isTsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import type { Retention } from '../../base/retention.ts';
import { canonicalJson } from '../../base/json.ts';
import type { RunMount, RunOp } from '../../graph/ops.ts';
import type { Layer } from '../../layer/layer.ts';
import { emptyTree } from '../../layer/open-tree.ts';
import { readTar } from '../../layer/tar-reader.ts';
import { unpackLayer } from '../../layer/unpack.ts';
import type { VertexContext } from '../handler.ts';
import { identityOf, type Result } from '../result.ts';
import { dropDirectory, enterDirectory, type TryLock } from './cache-directory.ts';
import { createCacheHolds } from './cache-holds.ts';
import { removeTree } from '../../base/remove-tree.ts';

/** Until it is looked again whether another step has made a cache. */
const WAIT_MS = 10;

interface EnteredCache extends Disposable {
  readonly path: string;
}

export type CacheMount = Extract<RunMount, { kind: 'cache' }>;

/** A cache mount in use. */
export interface CacheMountUse {
  /** Hex; the same for the same cache on every machine. */
  readonly name: string;
  /** As the Dockerfile has it. */
  readonly id: string;
  /** Where it lies here, or will. */
  readonly directory: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface CacheMountOptions {
  /** Directory of cache mounts and scratch space, on the host. */
  readonly root: string;
  readonly host: Host;
  readonly retention: Retention;
  /** Throws BLOB_NOT_FOUND. */
  readonly openLayer: (diffID: DiffID) => Promise<Layer>;
  readonly tryLock: TryLock;
  /** A lock on a cache's name; undefined where another step has it, of this process or another. */
  readonly takeTurn: (name: string) => Disposable | undefined;
  /** Brings what other machines have of a cache mount, before a step uses it. Never throws. */
  readonly arrive?: (mount: CacheMountUse) => Promise<void>;
}

export interface CacheMounts {
  /** The directory for a step, until it is disposed of. Throws IO_FAILED. */
  use(context: VertexContext<RunOp>, mount: CacheMount): Promise<Disposable & { readonly directory: string }>;
}

export function createCacheMounts(options: CacheMountOptions): CacheMounts {
  const holds = createCacheHolds(options.takeTurn);

  /** The directory in use, new where there was none. */
  async function enter(
    { vertex, inputs, signal }: VertexContext<RunOp>,
    mount: CacheMount,
    name: string,
    directory: string,
    isFirst: boolean,
  ): Promise<EnteredCache> {
    const { id, mode, uid, gid } = mount;
    const seed = mount.input === undefined ? undefined : inputs[mount.input];
    // A step that shall not use what is cached begins with an empty one.
    if (vertex.noCache === true) {
      if (!dropDirectory(directory, options.host.unique(), options.tryLock))
        return enterApart(directory, mount, seed, signal);
    } else if (isFirst) await options.arrive?.({ name, id, directory, mode, uid, gid });
    for (;;) {
      if (!existsSync(directory)) await makeOnce(directory, mount, seed, signal);
      const entered = await enterDirectory(directory, options.tryLock, signal);
      // Another build may have taken it away meanwhile.
      if (entered !== undefined)
        return { path: directory, [Symbol.dispose]: () => entered[Symbol.dispose]() };
      signal.throwIfAborted();
    }
  }

  /** why one at a time: rename(2) puts a new directory in the place of an empty one, which somebody may be using. */
  async function makeOnce(
    directory: string,
    mount: CacheMount,
    seed: Result | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    using turn = options.takeTurn(`${basename(directory)}.new`);
    if (turn === undefined) await sleep(WAIT_MS, undefined, { signal });
    else if (!existsSync(directory)) await makeCache(directory, mount, seed, signal);
  }

  /** A new one beside that which others use; afterwards it takes its place, where nobody uses that any more. */
  async function enterApart(
    directory: string,
    mount: CacheMount,
    seed: Result | undefined,
    signal: AbortSignal,
  ): Promise<EnteredCache> {
    const path = await stageCache(directory, mount, seed, signal);
    const entered = await enterDirectory(path, options.tryLock, signal);
    return {
      path,
      [Symbol.dispose]() {
        entered?.[Symbol.dispose]();
        using turn = options.takeTurn(`${basename(directory)}.new`);
        if (turn !== undefined && dropDirectory(directory, options.host.unique(), options.tryLock))
          putInPlace(path, directory);
        else removeTree(path);
      },
    };
  }

  /** A new cache is seen when it is complete. */
  async function makeCache(
    directory: string,
    mount: CacheMount,
    seed: Result | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    putInPlace(await stageCache(directory, mount, seed, signal), directory);
  }

  /** Under a name that tells its owner. */
  async function stageCache(
    directory: string,
    { mode, uid, gid }: CacheMount,
    seed: Result | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const temp = `${directory}.${options.host.unique()}`;
    mkdirSync(temp, { recursive: true });
    if (seed?.kind === 'stack')
      for (const { diffID } of seed.layers)
        await unpackLayer(readTar((await options.openLayer(diffID)).tar()), temp, {
          mode: 'plain',
          parent: emptyTree,
          signal,
        });
    chownSync(temp, uid, gid);
    chmodSync(temp, mode);
    return temp;
  }

  /** When it was used last, for `system df` and for garbage collection. */
  function noteUse(name: string, id: string): void {
    try {
      writeFileAtomic(options.host, join(options.root, 'cache-uses', `${name}.json`), JSON.stringify({ id }));
    } catch (error) {
      // On a full disk it looks older than it is.
      if (!isTsbuildError(error)) throw error;
    }
  }

  return {
    async use(context, mount) {
      const { id, mode, uid, gid } = mount;
      const seed = mount.input === undefined ? undefined : context.inputs[mount.input];
      const from = seed === undefined ? {} : { from: identityOf(seed) };
      const name = hexOf(digestOf(canonicalJson({ id, mode, uid, gid, ...from })));
      const hold = await holds.hold(name, mount.sharing, context.signal);
      const { suffix } = hold;
      const directory = join(options.root, 'caches', `${name}${suffix}`);
      options.retention.hold('cache', `${name}${suffix}`);
      try {
        const entered = await enter(context, mount, name, directory, suffix === '');
        noteUse(`${name}${suffix}`, id);
        return {
          directory: entered.path,
          [Symbol.dispose]() {
            entered[Symbol.dispose]();
            hold[Symbol.dispose]();
            // At the end, too: what it takes is counted once for as long as nobody uses it.
            noteUse(`${name}${suffix}`, id);
          },
        };
      } catch (error) {
        hold[Symbol.dispose]();
        throw error;
      }
    },
  };
}

function putInPlace(path: string, directory: string): void {
  try {
    renameSync(path, directory);
  } catch (error) {
    // One came from elsewhere meanwhile.
    removeTree(path);
    const errno = errnoOf(error);
    if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw ioError('make a cache', error);
  }
}

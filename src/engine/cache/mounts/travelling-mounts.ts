/**
 * Cache mounts that travel: a directory that RUN uses as its cache is made like what the cache holds before its first
 * use in a build, and the cache is told of what it became at the end.
 *
 * What arrives takes the place of what was here, if that was once the same as something there; a directory that this
 * machine filled by itself stays as it is. Whatever is wrong, the step runs with the directory that it has.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  chmodSync,
  chownSync,
  closeSync,
  openSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { tryLock } from '../../../../native/sys.ts';
import type { Digest } from '../../../base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../../base/errors.ts';
import type { Descriptor } from '../../../oci/documents.ts';
import type { Engine } from '../../engine.ts';
import { transferOptions } from '../../transfer-progress.ts';
import { withVertex, type CallOptions } from '../../with-vertex.ts';
import type { CachePlace } from '../cache-place.ts';
import { isCacheDamage } from '../cache-damage.ts';
import { PLAN_MS, STALL_MS, whileMoving, within } from '../patience.ts';
import { fetchChunks } from './fetch-chunks.ts';
import type { MountEntry } from './mount-index.ts';
import { readMountState, writeMountState, type MountState } from './mount-state.ts';
import { TICK_MS, type MountUse } from './mount-use.ts';
import { findMount, readEntries, type RemoteMount } from './remote-mount.ts';
import { filesOf, restoreTree } from './restore-tree.ts';
import { saveMount } from './save-mount.ts';
import { scanMount, type ScannedEntry } from './scan.ts';
import { removeTree } from '../../../base/remove-tree.ts';

/** Not what is damaged, which may be one mount alone. */
const OF_THE_REGISTRY: ReadonlySet<ErrorCode> = new Set([
  'REGISTRY_UNREACHABLE',
  'REGISTRY_AUTH',
  'REGISTRY_REFUSED',
  'REGISTRY_PROTOCOL',
]);

export interface TravellingMounts {
  /** Before a step uses a cache mount. Once per build and mount; never throws. */
  arrive(mount: MountUse): Promise<void>;
  /** Tells the caches what the mounts of this build have become. Never throws. */
  save(): Promise<void>;
}

export interface TravellingMountsOptions extends CallOptions {
  readonly engine: Engine;
  readonly sources: readonly CachePlace[];
  readonly destinations: readonly CachePlace[];
  /** Whether steps could not be read from it either. */
  readonly isBroken: (place: CachePlace) => boolean;
  readonly warn: (message: string) => void;
}

export function openTravellingMounts(options: TravellingMountsOptions): TravellingMounts {
  const { engine, sources, destinations, signal } = options;
  const { host, content } = engine;
  const used = new Map<string, MountUse>();
  const arriving = new Map<string, Promise<void>>();
  const warned = new Set<string>();
  /** What of which place was given up: the next mount would wait as long for the same answer. */
  const givenUp = new Set<string>();
  /** Mounts of which a place has not everything that it says. */
  const damaged = new Set<string>();
  const statePath = (name: string): string =>
    join(engine.options.root, 'run/cache-states', `${name}.json.gz`);

  function failed(what: 'read' | 'write', place: CachePlace, error: unknown): void {
    if (isTsbuildError(error) && OF_THE_REGISTRY.has(error.code)) givenUp.add(`${what} ${place.name}`);
    if (signal.aborted || warned.has(`${what} ${place.name}`)) return;
    warned.add(`${what} ${place.name}`);
    const reason = error instanceof Error ? error.message : String(error);
    options.warn(
      `cannot ${what} cache mounts ${what === 'read' ? 'from' : 'to'} the cache ${place.name}: ${reason}`,
    );
  }

  async function arrive(mount: MountUse): Promise<void> {
    for (const place of sources) {
      if (givenUp.has(`read ${place.name}`) || options.isBroken(place)) continue;
      try {
        const remote = await within(PLAN_MS, signal, (inner) =>
          findMount(place, mount.name, { signal: inner }),
        );
        if (remote === undefined) continue;
        await arriveFrom(place, mount, remote);
        return;
      } catch (error) {
        if (isCacheDamage(error)) damaged.add(`${mount.name} ${place.name}`);
        failed('read', place, error);
      }
    }
  }

  async function arriveFrom(place: CachePlace, mount: MountUse, remote: RemoteMount): Promise<void> {
    const state = readMountState(statePath(mount.name));
    const isHere = existsSync(mount.directory) && readdirSync(mount.directory).length > 0;
    if (isHere && state.synced[place.repository] === remote.digest) return;
    if (isHere && Object.keys(state.synced).length === 0) return;
    using lock = isHere ? lockDirectory(mount.directory) : undefined;
    // Somebody works with it, so it is warm.
    if (isHere && lock === undefined) return;
    const vertex = `cache mount ${mount.name}`;
    await withVertex(
      options.sink,
      host,
      vertex,
      `[internal] fetch cache mount ${mount.id} of ${place.name}`,
      async () => {
        await restore(place, mount, remote, isHere ? state : undefined, vertex);
      },
    );
  }

  async function restore(
    place: CachePlace,
    mount: MountUse,
    remote: RemoteMount,
    state: MountState | undefined,
    vertex: string,
  ): Promise<void> {
    const { onNotice, onProgress } = transferOptions(vertex, 'pulling', host, options);
    const { directory, name } = mount;
    const target = `${directory}.${host.unique()}`;
    let moved = 0;
    try {
      await whileMoving(STALL_MS, signal, async (inner, alive) => {
        const io = { signal: inner, onNotice };
        const entries = await readEntries(place, remote, content, { ...io, onProgress: alive });
        const scanned =
          state === undefined
            ? undefined
            : await scanMount(directory, { signal: inner, known: state.files, settledAt: 0 });
        engine.budget.reserve(() => Math.max(0, bytesOf(entries) - bytesOf(scanned?.entries ?? [])));
        mkdirSync(target, { recursive: true, mode: 0o700 });
        await restoreTree({
          old: scanned === undefined ? undefined : { directory, entries: scanned.entries },
          entries,
          target,
          fetch: (chunks, onChunk) => {
            const total = chunks.reduce((sum, { stored }) => sum + stored, 0);
            return fetchChunks(place, remote.packs, chunks, {
              ...io,
              onChunk,
              onMoved(bytes) {
                alive();
                moved += bytes;
                onProgress(progressOf(remote.digest, Math.max(total, moved)), moved, false);
              },
            });
          },
        });
        await exchange(mount, target, entries);
      });
    } finally {
      removeTree(target);
    }

    async function exchange(use: MountUse, made: string, entries: readonly MountEntry[]): Promise<void> {
      chownSync(made, use.uid, use.gid);
      chmodSync(made, use.mode);
      using lock = lockDirectory(made);
      const old = `${directory}.${host.unique()}.old`;
      if (existsSync(directory)) renameSync(directory, old);
      renameSync(made, directory);
      removeTree(old);
      if (lock === undefined) return;
      // why: taking away the old names changed the times of the files; whoever changes them next must leave others.
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      const files = filesOf(directory, entries);
      writeMountState(statePath(name), { synced: { [place.repository]: remote.digest }, files }, host);
    }
  }

  async function save(mount: MountUse): Promise<void> {
    if (!existsSync(mount.directory)) return;
    for (const place of destinations) {
      if (givenUp.has(`write ${place.name}`)) continue;
      try {
        await saveMount({
          ...options,
          place,
          mount,
          statePath: statePath(mount.name),
          isDamaged: damaged.has(`${mount.name} ${place.name}`),
        });
      } catch (error) {
        failed('write', place, error);
      }
    }
  }

  return {
    arrive(mount) {
      used.set(mount.name, mount);
      const running = arriving.get(mount.name) ?? arrive(mount);
      arriving.set(mount.name, running);
      return running;
    },
    async save() {
      if (signal.aborted || destinations.length === 0) return;
      for (const mount of used.values()) await save(mount);
    },
  };
}

function bytesOf(entries: readonly (MountEntry | ScannedEntry)[]): number {
  return entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0);
}

function progressOf(digest: Digest, size: number): Descriptor {
  return { mediaType: 'application/octet-stream', digest, size };
}

/** For nobody else's use; undefined where somebody uses it. */
function lockDirectory(directory: string): Disposable | undefined {
  mkdirSync(dirname(directory), { recursive: true });
  const fd = openSync(directory, 'r');
  if (tryLock(fd, 'exclusive')) return { [Symbol.dispose]: () => closeSync(fd) };
  closeSync(fd);
  return undefined;
}

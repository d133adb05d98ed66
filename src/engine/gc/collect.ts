/**
 * Garbage collection: chooses what goes, and moves it away.
 *
 * Choosing takes as long as it takes, beside running builds. Then, for as long as the moving lasts, `collecting` stands
 * (leases.ts): what has come into use since is found by reading the roots once more, and left out. A collection
 * that is killed leaves a store that lacks some of what nobody needed.
 *
 *   trash/<owner>/N   moved away, being deleted; swept by the next one
 */
import { closeSync, mkdirSync, openSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { closeImage } from '../../../native/overlay.ts';
import { tryLock } from '../../../native/sys.ts';
import { readJsonIfExists } from '../../base/atomic-file.ts';
import { isDigest, type ChainID } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isJsonObject } from '../../base/json.ts';
import { sweepUnowned } from '../../base/owner.ts';
import type { ContainerStore } from '../../runtime/container-store.ts';
import { mergedPath, readRecords, takeInventory, type Inventory } from './inventory.ts';
import { endNotes } from '../unchanged-notes.ts';
import { collectingNote, leasesDirectory } from './leases.ts';
import { chooseUnits, type Chosen } from './order.ts';
import { readImages, rootsOf, type ImageEntry } from './roots.ts';
import { openSizeNotes } from './tree-size.ts';
import { findUnits, type Unit } from './units.ts';
import { removeTree } from '../../base/remove-tree.ts';

export interface Collector {
  readonly root: string;
  readonly host: Host;
  readonly containers: ContainerStore;
}

export interface CollectOptions {
  /** Images that stay, whatever happens. Images that running processes use do, too. */
  readonly keeps: (image: ImageEntry) => boolean;
  readonly selects: (unit: Unit) => boolean;
  /** Bytes that are wanted; what is worth least goes first. Absent: everything that is selected goes. */
  readonly wanted?: number;
  /** Where less than that can be had, nothing goes at all. */
  readonly atLeast?: number;
}

export interface Collected {
  readonly removed: readonly { readonly unit: Unit; readonly size: number }[];
  readonly freed: number;
}

const LONGEST_WAIT_MS = 60_000;
const PAUSE_MS = 5;

export function trashDirectory(root: string): string {
  return join(root, 'trash');
}

/** Synchronous: a store may have to make room in the middle of a write. Throws STORE_IN_USE, IO_FAILED. */
export function collect(collector: Collector, options: CollectOptions): Collected {
  const { root, host } = collector;
  using trash = openTrash(root, host);
  using _lock = lockCollections(root);
  sweepUnowned(trashDirectory(root));
  sweepUnowned(leasesDirectory(root));
  const { inventory, images, units } = survey(collector, options.keeps);
  const { wanted = Number.POSITIVE_INFINITY, atLeast = 0 } = options;
  const chosen = chooseUnits(units, options.selects, (freed) => freed >= wanted, host.now());
  if (freedBy(chosen) < atLeast || chosen.length === 0) return { removed: [], freed: 0 };
  const known = new Set(images.map(({ id }) => id));
  const removed: Chosen[] = [];
  {
    using _note = noteCollecting(root, host);
    // Before and after, for who is killed in between.
    endNotes(root, host);
    const needed = neededPaths(collector, inventory, (image) => !known.has(image.id) || options.keeps(image));
    for (const each of chosen) {
      if (each.paths.some((path) => needed.has(path))) continue;
      for (const path of each.paths) trash.move(path);
      removed.push(each);
    }
    endNotes(root, host);
  }
  return { removed, freed: freedBy(removed) };
}

/** Deletes what every process can do without, whenever it goes. */
export function moveAway({ root, host }: Collector, paths: readonly string[]): void {
  using trash = openTrash(root, host);
  for (const path of paths) trash.move(path);
}

/** What there is, and what might go. */
export function survey(
  { root, host, containers }: Collector,
  keeps: (image: ImageEntry) => boolean,
): {
  readonly inventory: Inventory;
  readonly images: readonly ImageEntry[];
  readonly units: readonly Unit[];
} {
  const inventory = takeInventory(root, openSizeNotes(root, host));
  const images = readImages(root, containers);
  const roots = rootsOf({ root, images: images.filter(keeps), containers, inventory });
  const expendable = images.filter((image) => !keeps(image));
  return {
    inventory,
    images,
    units: findUnits({ root, inventory, ...readRecords(root), expendable, roots }),
  };
}

function freedBy(chosen: readonly Chosen[]): number {
  return chosen.reduce((sum, { size }) => sum + size, 0);
}

/** Everything that came into use while it was being chosen. */
function neededPaths(
  { root, containers }: Collector,
  inventory: Inventory,
  keeps: (image: ImageEntry) => boolean,
): ReadonlySet<string> {
  const images = readImages(root, containers).filter(keeps);
  const roots = rootsOf({ root, images, containers, inventory });
  const needed = new Set(images.map(({ path }) => path));
  const add = (path: string | undefined): void => {
    if (path !== undefined) needed.add(path);
  };
  for (const diffID of roots.layers) add(inventory.layers.get(diffID)?.path);
  for (const blob of roots.blobs) add(inventory.blobs.get(blob)?.path);
  for (const name of roots.held.cache) add(inventory.caches.get(name)?.path);
  for (const name of roots.held.repository) add(inventory.repositories.get(name)?.path);
  const below = parentsOfNewStates(root, inventory);
  for (const state of inventory.snapshots)
    if (roots.snapshots.has(state.name) || below.has(state.name)) {
      add(state.path);
      add(mergedPath(root, state));
    }
  return needed;
}

/** States that others have made meanwhile need what they lie upon. */
function parentsOfNewStates(root: string, { snapshots }: Inventory): ReadonlySet<ChainID> {
  const parents = new Map(snapshots.map(({ name, parent }) => [name, parent]));
  const needed = new Set<ChainID>();
  for (const driver of namesIn(join(root, 'snapshots')))
    for (const hex of namesIn(join(root, 'snapshots', driver, 'committed'))) {
      if (parents.has(`sha256:${hex}` as ChainID)) continue;
      const info = readJsonIfExists(join(root, 'snapshots', driver, 'committed', hex, 'info.json'));
      const parent = isJsonObject(info) ? info['parent'] : undefined;
      let at = typeof parent === 'string' && isDigest(parent) ? (parent as string as ChainID) : undefined;
      for (; at !== undefined && !needed.has(at); at = parents.get(at)) needed.add(at);
    }
  return needed;
}

function lockCollections(root: string): Disposable {
  const path = join(root, 'locks', 'collect.lock');
  const cell = new Int32Array(new SharedArrayBuffer(4));
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(path, 'a', 0o600);
    for (let waited = 0; !tryLock(fd, 'exclusive'); waited += PAUSE_MS) {
      if (waited >= LONGEST_WAIT_MS) {
        closeSync(fd);
        throw new TsbuildError('STORE_IN_USE', 'another process has been collecting garbage for a minute');
      }
      Atomics.wait(cell, 0, 0, PAUSE_MS);
    }
    return { [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    throw ioError(`lock ${JSON.stringify(path)}`, error);
  }
}

function noteCollecting(root: string, host: Host): Disposable {
  const note = collectingNote(root);
  // Of a collection that was killed.
  rmSync(note, { force: true });
  try {
    symlinkSync(host.unique(), note);
  } catch (error) {
    throw ioError(`write ${JSON.stringify(note)}`, error);
  }
  return { [Symbol.dispose]: () => rmSync(note, { force: true }) };
}

interface Trash extends Disposable {
  move(path: string): void;
}

/** Disposing deletes what was moved. */
function openTrash(root: string, host: Host): Trash {
  const directory = join(trashDirectory(root), host.unique());
  const notes = openSizeNotes(root, host);
  let count = 0;
  let isMade = false;

  function tryMove(path: string): boolean {
    try {
      if (!isMade) mkdirSync(directory, { recursive: true, mode: 0o700 });
      isMade = true;
      renameSync(path, join(directory, `${(count += 1)}`));
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT') return true;
      // A full disk has no room for another directory; parts of the root may lie on disks of their own.
      if (errno === 'ENOSPC' || errno === 'EDQUOT' || errno === 'EXDEV') return false;
      throw ioError(`move ${JSON.stringify(path)} away`, error);
    }
  }

  return {
    move(path) {
      closeImage(join(path, 'index'));
      if (!tryMove(path)) removeTree(path);
      notes.drop(path);
    },
    [Symbol.dispose]: () => removeTree(directory),
  };
}

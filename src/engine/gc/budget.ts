/**
 * `storage.max`: a limit for what builds and pulls leave, held while they run.
 *
 * Before something is kept there must be room for it; where there is none, what is worth least goes, down to a little
 * below the limit so that not every layer has to ask again. What is tagged, or in use by anybody, never goes: where
 * that alone is too much, nothing does, and the caller gets STORAGE_FULL.
 */
import { statfsSync } from 'node:fs';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { collect, type Collector } from './collect.ts';
import { takeInventory, totalSize, unfinishedSize } from './inventory.ts';
import type { ImageEntry } from './roots.ts';
import { openSizeNotes } from './tree-size.ts';

export interface Budget {
  /** Throws STORAGE_FULL. `bytes` is asked where there is a limit. */
  reserve(bytes: () => number): void;
  /**
   * Looks, until it is disposed of, whether what is being written passes the limit: a step may write what it likes before
   * anything of it is kept. `onExceeded` is called once, with STORAGE_FULL, where making room is not enough.
   */
  watch(onExceeded: (error: TsbuildError) => void): Disposable;
}

/** Down to this part of the limit. */
const LOW_WATER = 0.9;
/** As long as what has been added since counting is a small part of what was left then, it need not be counted again. */
const UNCOUNTED = 1 / 8;
const COUNTED_FOR_MS = 1000;
/** Of `watch`. */
const LOOK_MS = 250;
/** Of `watch`, at the latest; and not before so many times what counting took last. */
const RECOUNTED_MS = 3000;
const RARELY = 20;

/** Images that may not go: those with a name, and those that containers are made of. */
export function isKept({ tags, containers }: ImageEntry): boolean {
  return tags.length > 0 || containers > 0;
}

export function openBudget(collector: Collector, max: number | undefined): Budget {
  const { root, host } = collector;
  let counted = { used: 0, at: Number.NEGATIVE_INFINITY, added: 0 };

  function count(): number {
    const used = totalSize(takeInventory(root, openSizeNotes(root, host)));
    counted = { used, at: host.now(), added: 0 };
    return used;
  }

  function makeRoom(used: number, bytes: number, limit: number): void {
    const missing = used + bytes - limit;
    if (missing <= 0) return;
    const { freed } = collect(collector, {
      keeps: isKept,
      selects: () => true,
      atLeast: missing,
      wanted: used + bytes - limit * LOW_WATER,
    });
    if (freed < missing) throw storageFull(root, { bytes, used, limit });
  }

  return {
    reserve(bytes) {
      if (max === undefined) return;
      const wanted = bytes();
      const isFresh = host.now() - counted.at < COUNTED_FOR_MS;
      const added = counted.added + wanted;
      if (!isFresh || added > (max - counted.used) * UNCOUNTED) makeRoom(count(), wanted, max);
      counted.added += wanted;
    },
    watch(onExceeded) {
      if (max === undefined) return { [Symbol.dispose]: () => undefined };
      const timer = setInterval(createLook(max, onExceeded), LOOK_MS);
      timer.unref();
      return { [Symbol.dispose]: () => clearInterval(timer) };
    },
  };

  /**
   * Counting walks directories, so the file system's free space says whether it is worth it. What others free there
   * meanwhile hides what is written, so now and then it is counted all the same.
   */
  function createLook(limit: number, onExceeded: (error: TsbuildError) => void): () => void {
    let last = { used: 0, free: Number.POSITIVE_INFINITY, at: Number.NEGATIVE_INFINITY, tookMs: 0 };
    let isOver = false;
    return () => {
      const free = freeSpace(root);
      const now = host.now();
      if (isOver || free === undefined || now - last.at < COUNTED_FOR_MS) return;
      const isDue = now - last.at >= Math.max(RECOUNTED_MS, RARELY * last.tookMs);
      if (!isDue && last.used + (last.free - free) < limit) return;
      const used = count() + unfinishedSize(root);
      last = { used, free, at: now, tookMs: host.now() - now };
      try {
        makeRoom(used, 0, limit);
      } catch (error) {
        if (!isTsbuildError(error)) throw error;
        isOver = true;
        onExceeded(error);
      }
    };
  }
}

function freeSpace(root: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(root);
    return bavail * bsize;
  } catch {
    // It is going: whoever writes next says so.
    return undefined;
  }
}

function storageFull(
  root: string,
  { bytes, used, limit }: { readonly bytes: number; readonly used: number; readonly limit: number },
): TsbuildError {
  const more = bytes === 0 ? '' : ` ${formatBytes(bytes)} more`;
  return new TsbuildError(
    'STORAGE_FULL',
    `cannot keep${more === '' ? ' what is being written' : more} below ${JSON.stringify(root)}: storage.max is ${formatBytes(limit)}, and ${formatBytes(used)} are there already, of which too little may go`,
    {
      hint: 'remove images ("tsbuild rmi"), see what there is with "tsbuild system df -v", or raise storage.max',
    },
  );
}

/** What every driver does the same way with the snapshots that are stored. */
import { TsbuildError } from '../src/base/errors.ts';
import type { Snapshotter } from './snapshotter.ts';
import type { SnapshotStore } from './store.ts';
import { usageOf } from '../src/base/usage.ts';

/** Of `commit` on a state with a home. */
export function keptElsewhere(): TsbuildError {
  return new TsbuildError(
    'STORE_IN_USE',
    "a writable state that is kept in its owner's directory stays there",
  );
}

type Stored = Pick<
  Snapshotter,
  'stat' | 'usage' | 'remove' | 'list' | 'unsynced' | 'check' | typeof Symbol.asyncDispose
>;

/** A synchronous piece of work as a promise; what it throws becomes the rejection. */
export function promiseOf<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}

export function storedSnapshots(store: SnapshotStore): Stored {
  return {
    stat: (name) => promiseOf(() => store.info(name)),
    usage: (name) => promiseOf(() => usageOf(store.placeOf(store.require(name).name))),
    remove: (name) => promiseOf(() => store.remove(name)),
    async *list() {
      for (const name of store.list()) {
        const info = store.recorded(name);
        if (info !== undefined) yield await Promise.resolve(info);
      }
    },
    unsynced: () => store.unsynced(),
    check: () => promiseOf(() => store.check()),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/**
 * What the stores tell garbage collection.
 *
 * Whoever is about to use something says so first and looks whether it is there afterwards; whoever is about to make
 * something visible says so before. Between the two calls nothing can be lost: src/engine/gc/leases.ts says how.
 */

export type HeldKind = 'blob' | 'layer' | 'snapshot' | 'cache' | 'repository';

export interface Retention {
  /**
   * Keeps it as long as the work of this process goes on. true: it was kept already, so what was there then is there
   * still. Throws DISK_FULL, IO_FAILED.
   */
  hold(kind: HeldKind, name: string): boolean;
  /** Gives a file the time of now: when the thing that it stands for was used last. Only while work goes on. */
  touch(path: string): void;
  /**
   * Makes room for what is about to be kept; `bytes` is asked where there is a limit. Throws STORAGE_FULL where even
   * without everything that may go it would be too much.
   */
  reserve(bytes: () => number): void;
}

/** For stores that nobody collects. */
export const noRetention: Retention = {
  hold: () => false,
  touch: () => undefined,
  reserve: () => undefined,
};

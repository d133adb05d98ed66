/**
 * Snapshotter: file system states. Contract of all drivers (see README.md for the essay).
 *
 * A committed snapshot is immutable and named by the chainID of its stack of layers, so that the same stack
 * has the same name in every build. A snapshotter returns mounts as data and never mounts.
 */
import type { ChainID } from '../src/base/digest.ts';
import type { Mount } from '../native/mount.ts';
import type { Layer, OnPacking } from '../src/layer/layer.ts';

export type SnapshotName = ChainID;

export interface SnapshotInfo {
  readonly name: SnapshotName;
  readonly parent: SnapshotName | undefined;
}

export interface Usage {
  /** Bytes that removing the snapshot would free. */
  readonly size: number;
  readonly inodes: number;
}

/** A place that must exist so that something can be mounted on it, and must not appear in the committed layer. */
export interface MountStub {
  /** Absolute path inside the snapshot. */
  readonly path: string;
  readonly type: 'directory' | 'file' | 'symlink';
  /** Of a directory; absent: 755. */
  readonly mode?: number;
  /** Of a symlink, which is there for programs to find rather than to be mounted on. */
  readonly target?: string;
}

export interface PrepareOptions {
  readonly stubs?: readonly MountStub[];
  readonly home?: string;
  /** What is synced to the disk counts after a crash of the machine; default: only without `home`. */
  readonly volatile?: boolean;
}

export interface Snapshotter extends AsyncDisposable {
  /** Name of the driver: `overlay`, `copy`, … */
  readonly driver: string;
  /**
   * The state `parent` + `layer`. Idempotent: where the name exists already nothing is read. The layer's digest
   * is verified while it is read. Concurrent calls for one name, in this or another process, are safe.
   * Throws SNAPSHOT_NOT_FOUND (parent), ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL.
   */
  apply(parent: SnapshotName | undefined, layer: Layer): Promise<SnapshotInfo>;
  /**
   * A writable state above `parent`; disposing throws it away unless it was committed. With `home` it lies in that
   * directory (on the disk of the snapshots), belongs to the caller and outlives this process: a second `prepare`
   * with the same parent goes on with it, disposing does nothing, committing is refused (STORE_IN_USE).
   */
  prepare(parent: SnapshotName | undefined, options?: PrepareOptions): Promise<ActiveSnapshot>;
  /** A read-only view; `undefined` is an empty root. */
  view(name: SnapshotName | undefined): Promise<SnapshotView>;
  stat(name: SnapshotName): Promise<SnapshotInfo | undefined>;
  usage(name: SnapshotName): Promise<Usage>;
  /** Refuses (STORE_IN_USE) while another snapshot has it as parent. Idempotent. */
  remove(name: SnapshotName): Promise<void>;
  list(): AsyncIterable<SnapshotInfo>;
  /** As LayerStore.unsynced. What the disk did not have when the machine crashed is gone afterwards: it is never wrong. */
  unsynced(): readonly string[];
  /** What is damaged, one sentence per finding; nothing is changed. */
  check(): Promise<readonly string[]>;
}

export interface ActiveSnapshot extends AsyncDisposable {
  /** How to build the root: the first mount is the root itself. */
  readonly mounts: readonly Mount[];
  /**
   * Packs what changed into a layer (in the layer store) and makes the state a committed snapshot. Once. `onPacking` is
   * told of the layer where it can be read before that.
   */
  commit(options?: {
    readonly maxMtime?: number;
    readonly onPacking?: OnPacking | undefined;
  }): Promise<{ readonly snapshot: SnapshotInfo; readonly layer: Layer }>;
}

export interface SnapshotView extends AsyncDisposable {
  readonly mounts: readonly Mount[];
}

/** What COPY works with. */
import type { Digest } from '../../../base/digest.ts';
import type { IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import type { LayerStore } from '../../../layer/layer.ts';
import type { Tree } from '../../../layer/tree.ts';
import type { Snapshotter } from '../../../../snapshotter/snapshotter.ts';
import type { IgnoreFile } from '../../handler.ts';
import type { RecordStore } from '../../records.ts';
import type { Stacks } from '../../stack.ts';
import type { StatCache } from '../context/stat-cache.ts';
import type { EarlierLayers } from './earlier-layers.ts';

/** A build context: its files, what is left out of it, and what is known of it. Owned by whoever opened it. */
export interface OpenContext {
  readonly tree: Tree;
  readonly ignore: IgnoreMatcher | undefined;
  readonly ignoreFile?: IgnoreFile;
  readonly statCache: StatCache;
  /** As in messages: `the build context`. */
  readonly where: string;
  /** The same for the same directory, in later builds too. */
  readonly identity: string;
}

export interface CopyHandlerOptions {
  readonly snapshotter: () => Promise<Snapshotter>;
  readonly stacks: Stacks;
  readonly layers: LayerStore;
  readonly records: RecordStore;
  readonly context: (name: string) => OpenContext;
  /** Layers that COPYs made before; undefined: every layer is made from its sources alone. */
  readonly earlier?: EarlierLayers;
  /**
   * Whether files may be packed before it is known that they must be: where records can come from elsewhere, what is
   * packed is wasted more often than not.
   */
  readonly speculates: boolean;
  /** Path of a blob on disk. */
  readonly blobPath: (blob: Digest) => string;
  /** A path for a new temporary file. */
  readonly spool: () => string;
  readonly maxMtime?: number;
  readonly now: () => number;
}

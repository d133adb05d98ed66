/**
 * Records that travel: what other machines left behind is found here, and what this build makes is told to them.
 *
 * A record found elsewhere is as good as a local one, but the layers that it names may be anywhere: in a registry,
 * from which they are fetched when somebody looks into them, or nowhere any more. So the solver takes a record for
 * what it says, and executes the steps that it stands for where its layers are needed and cannot be had
 * (LAYER_LOST).
 */
import type { CacheKey } from '../base/digest.ts';
import type { Vertex } from '../graph/graph.ts';
import type { StepRecord } from './handler.ts';

export interface RemoteRecords {
  /** The record of a key; undefined where nobody has one. Never throws, and gives up after seconds. */
  find(key: CacheKey): Promise<StepRecord | undefined>;
  /** Of builds like this one, for saying what is different now. Never throws. */
  earlier?(): Promise<readonly StepRecord[]>;
  /**
   * Tells of a record that stands for `vertex` in this build, made by it or found, here or elsewhere. What has to be
   * written anywhere is written in the background. Never throws.
   */
  keep(record: StepRecord, vertex: Vertex): void;
}

/**
 * From a stack of layers to a snapshot, once per build, from the highest state that exists already.
 *
 * Layers of a pulled base are opened through `openLayer`, so a base that nobody looks into is never unpacked.
 */
import { chainIDOf, type ChainID, type DiffID } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { Layer } from '../layer/layer.ts';
import type { SnapshotName, Snapshotter } from '../../snapshotter/snapshotter.ts';
import type { StackResult } from './result.ts';

export interface Stacks {
  /** The committed snapshot of a stack; undefined for scratch. Throws LAYER_LOST. */
  snapshotOf(stack: StackResult): Promise<SnapshotName | undefined>;
  /** Whether that costs little: it is there already, nothing is needed, or its last layer was made in this build. */
  isAtHand(stack: StackResult): Promise<boolean>;
  /** That a layer was made in this build, so that nothing which lies on it is cached, as a rule. */
  noteMade(diffID: DiffID): void;
}

export interface StacksOptions {
  readonly snapshotter: () => Promise<Snapshotter>;
  /** undefined where no bytes of the layer are at hand. */
  readonly openLayer: (diffID: DiffID) => Promise<Layer | undefined>;
  /** Whether a layer that is no valid one is given up, so that what made it is executed again; else that is an error. */
  readonly giveUp?: ((diffID: DiffID, error: TsbuildError) => boolean) | undefined;
}

export function createStacks(options: StacksOptions): Stacks {
  const pending = new Map<ChainID, Promise<SnapshotName>>();
  const made = new Set<DiffID>();

  async function ensure(
    layers: readonly DiffID[],
    chains: readonly ChainID[],
    depth: number,
  ): Promise<SnapshotName | undefined> {
    const name = chains[depth - 1];
    const diffID = layers[depth - 1];
    if (name === undefined || diffID === undefined) return undefined;
    const known = pending.get(name);
    if (known !== undefined) return known;
    const promise = make(name, diffID, () => ensure(layers, chains, depth - 1));
    pending.set(name, promise);
    // why: a failed attempt must not be remembered, and the caller sees the rejection through `promise`.
    promise.catch(() => pending.delete(name));
    return promise;
  }

  async function make(
    name: ChainID,
    diffID: DiffID,
    parent: () => Promise<SnapshotName | undefined>,
  ): Promise<SnapshotName> {
    const snapshotter = await options.snapshotter();
    if ((await snapshotter.stat(name)) !== undefined) return name;
    // Layers are fetched side by side, whichever is applied first.
    const opening = options.openLayer(diffID);
    // why: where the parent fails, nobody waits for this one any more.
    opening.catch(() => undefined);
    const below = await parent();
    const layer = await opening;
    if (layer === undefined)
      throw new TsbuildError('LAYER_LOST', `cannot find the bytes of layer ${diffID}`, {
        hint: 'build again with --no-cache, or pull the base image again with --pull',
      });
    try {
      return (await snapshotter.apply(below, layer)).name;
    } catch (error) {
      const isOthers = isTsbuildError(error, 'ARCHIVE_INVALID') && !made.has(diffID);
      if (!isOthers || options.giveUp?.(diffID, error) !== true) throw error;
      throw new TsbuildError('LAYER_LOST', `layer ${diffID} is no valid one: ${error.message}`, {
        cause: error,
        hint: 'build again with --no-cache',
      });
    }
  }

  return {
    async isAtHand({ chain, layers }) {
      const last = layers.at(-1)?.diffID;
      if (chain === undefined || (last !== undefined && made.has(last))) return true;
      return (await (await options.snapshotter()).stat(chain)) !== undefined;
    },
    noteMade: (diffID) => void made.add(diffID),
    snapshotOf(stack) {
      const layers = stack.layers.map((layer) => layer.diffID);
      const chains: ChainID[] = [];
      for (const layer of layers) chains.push(chainIDOf(chains.at(-1), layer));
      return ensure(layers, chains, layers.length);
    },
  };
}

/**
 * Layers of a build that turn out to be nowhere: a registry that was known to hold one has lost it, or sends
 * something else. The step that made it is executed again then; layers of base images nobody can make, so there it
 * is an error.
 */
import type { DiffID } from '../base/digest.ts';
import { isTsbuildError } from '../base/errors.ts';
import type { Layer } from '../layer/layer.ts';
import type { Result } from '../solver/result.ts';
import type { Engine } from './engine.ts';
import type { OpenLayer } from './layer-access.ts';

export interface LayerLoss {
  /** Of a base image: it cannot be made again. */
  noteBase(result: Result): void;
  isBase(diffID: DiffID): boolean;
  /** It was lost in this build, made again or not. */
  wasLost(diffID: DiffID): boolean;
  /** Whether everything that a result names is here, or may be had. */
  isAvailable(result: Result): boolean;
  /**
   * Tries to have every layer that was said to be available. Whether one was lost since the last call, so that
   * building again may end better.
   */
  examine(): Promise<boolean>;
  /** undefined: nobody has it. Throws for base images what fetching them throws. */
  readonly openLayer: OpenLayer;
  /** That a layer cannot be unpacked, whatever its digest; false where it is a base image's. */
  giveUp(diffID: DiffID, error: Error): boolean;
}

export interface LayerLossOptions {
  readonly engine: Pick<Engine, 'blobs' | 'content' | 'layers' | 'images'>;
  readonly access: OpenLayer;
  readonly warn: (message: string) => void;
  readonly signal: AbortSignal;
}

export function createLayerLoss({ engine, access, warn, signal }: LayerLossOptions): LayerLoss {
  const { blobs, content, layers, images } = engine;
  const base = new Set<DiffID>();
  const lost = new Set<DiffID>();
  const counted = new Set<DiffID>();
  let examined = 0;

  /** Until somebody has made it again. */
  const isLost = (diffID: DiffID): boolean => lost.has(diffID) && layers.get(diffID) === undefined;

  async function fetch(diffID: DiffID): Promise<Layer | undefined> {
    // Named by somebody else's record: looked at before anybody builds upon it.
    return access(diffID, { asFile: !base.has(diffID) });
  }

  return {
    noteBase(result) {
      if (result.kind === 'stack') for (const { diffID } of result.layers) base.add(diffID);
    },
    isBase: (diffID) => base.has(diffID),
    wasLost: (diffID) => lost.has(diffID),
    isAvailable(result) {
      if (result.kind === 'file') return content.size(result.blob) === result.size;
      if (result.kind !== 'stack') return true;
      const isAvailable = result.layers.every(({ diffID }) => !isLost(diffID) && images.hasLayer(diffID));
      if (isAvailable) for (const { diffID } of result.layers) counted.add(diffID);
      return isAvailable;
    },
    async examine() {
      for (const diffID of counted) if (!base.has(diffID)) await openLayer(diffID);
      const hasLost = lost.size > examined;
      examined = lost.size;
      return hasLost;
    },
    openLayer,
    giveUp(diffID, error) {
      if (base.has(diffID)) return false;
      noteLost(diffID, error.message);
      layers.remove(diffID);
      return true;
    },
  };

  function noteLost(diffID: DiffID, reason: string): void {
    if (lost.size === 0)
      warn(`layer ${diffID} of an earlier build cannot be had, what makes it is executed again: ${reason}`);
    lost.add(diffID);
    blobs.dropLayer(diffID);
  }

  async function openLayer(diffID: DiffID): Promise<Layer | undefined> {
    if (isLost(diffID)) return undefined;
    try {
      return await fetch(diffID);
    } catch (error) {
      if (signal.aborted || base.has(diffID) || isTsbuildError(error, 'DISK_FULL')) throw error;
      noteLost(diffID, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }
}

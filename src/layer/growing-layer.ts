/** A layer whose tar is read while it is still being packed. */
import { TsbuildError } from '../base/errors.ts';
import type { Layer } from './layer.ts';

export interface GrowingLayer {
  /** A descriptor of the tar, which the caller closes; it holds whatever becomes of the layer. Throws IO_FAILED. */
  open(): number;
  /**
   * How many bytes of the tar can be read, whenever there are more; the last time, when the layer is in the store, all of
   * them. Throws ABORTED where the layer was given up.
   */
  sizes(): AsyncIterable<GrownTo>;
  /** The layer once it is in the store; undefined: it was given up. Never rejects. */
  readonly made: Promise<Layer | undefined>;
}

export interface GrownTo {
  readonly size: number;
  readonly isWhole: boolean;
}

/** Told of a layer as soon as there is something of it to read. */
export type OnPacking = (layer: GrowingLayer) => void;

/** The side of who packs. */
export interface LayerGrowth {
  readonly layer: GrowingLayer;
  grown(size: number): void;
  end(layer: Layer | undefined): void;
}

export function createLayerGrowth(open: () => number): LayerGrowth {
  let size = 0;
  let ended: { readonly layer: Layer | undefined } | undefined;
  let waiting: (() => void)[] = [];
  let make: (layer: Layer | undefined) => void = () => undefined;
  const made = new Promise<Layer | undefined>((resolve) => (make = resolve));

  function wake(): void {
    const woken = waiting;
    waiting = [];
    for (const each of woken) each();
  }

  async function* sizes(): AsyncGenerator<GrownTo> {
    for (let told = 0; ended === undefined; ) {
      if (size > told) yield { size: (told = size), isWhole: false };
      else await new Promise<void>((resolve) => waiting.push(resolve));
    }
    if (ended.layer === undefined) throw new TsbuildError('ABORTED', 'the layer was given up');
    yield { size: ended.layer.size, isWhole: true };
  }

  return {
    layer: { open, sizes, made },
    grown(now) {
      size = now;
      wake();
    },
    end(layer) {
      if (ended !== undefined) return;
      ended = { layer };
      make(layer);
      wake();
    },
  };
}

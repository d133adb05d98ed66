/** A layer whose tar is read while it is still being packed. */
import { TsbuildError } from '../base/errors.ts';
import type { GrowingLayer, GrownTo, Layer } from './layer.ts';

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

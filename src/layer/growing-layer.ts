/** A layer whose tar is read while it is still being packed. */
import { TsbuildError } from '../base/errors.ts';
import { createGrowth } from '../base/growth.ts';
import type { GrowingLayer, GrownTo, Layer } from './layer.ts';

/** The side of who packs. */
export interface LayerGrowth {
  readonly layer: GrowingLayer;
  grown(size: number): void;
  /** Once; what comes later does not count. */
  end(layer: Layer | undefined): void;
}

export function createLayerGrowth(open: () => number): LayerGrowth {
  const growth = createGrowth();
  let make: (layer: Layer | undefined) => void = () => undefined;
  const made = new Promise<Layer | undefined>((resolve) => (make = resolve));

  async function* sizes(): AsyncGenerator<GrownTo> {
    for (let told = 0; await growth.hasMore(told); ) yield { size: (told = growth.size), isWhole: false };
    const whole = await made;
    if (whole !== undefined) yield { size: whole.size, isWhole: true };
  }

  return {
    layer: { open, sizes, made },
    grown: growth.grown,
    end(layer) {
      make(layer);
      if (layer === undefined) growth.fail(new TsbuildError('ABORTED', 'the layer was given up'));
      else growth.end();
    },
  };
}

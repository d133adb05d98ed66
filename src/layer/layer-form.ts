/** The forms in which layers travel. */
export type CompressedForm = 'gzip' | 'zstd';

export interface LayerForm {
  readonly compression: CompressedForm | 'uncompressed';
  /** Default: {@link LEVELS}. */
  readonly level?: number;
  /** Layers that came compressed in another way are compressed anew; otherwise they stay as they are. */
  readonly force?: boolean;
}

interface Levels {
  readonly min: number;
  readonly max: number;
  readonly usual: number;
}

/** `usual`: gzip at no worse a ratio than pigz -6, at more than twice its speed; zstd as `zstd -3`. */
export const LEVELS: Readonly<Record<CompressedForm, Levels>> = {
  gzip: { min: 0, max: 9, usual: 6 },
  zstd: { min: 1, max: 22, usual: 3 },
};

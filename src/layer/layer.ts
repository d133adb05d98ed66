/**
 * Layers: change sets as deterministic uncompressed tars (design decision "a layer is its tar").
 *
 * The store keeps each tar under its diffID. A tar is visible only when it is complete and its digest known.
 */
import type { DiffID } from '../base/digest.ts';

export interface Layer {
  readonly diffID: DiffID;
  /** Bytes of the tar. */
  readonly size: number;
  /** Path of the tar as a plain file, where there is one (sendfile, mmap and range reads become possible). */
  readonly path?: string;
  /** This process wrote the tar, digesting what it wrote. */
  readonly isOwn?: true;
  /** The tar's bytes; may be called any number of times. */
  tar(): AsyncIterable<Uint8Array>;
}

/** A layer whose tar is read while it is still being packed. */
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

/** A layer being written. Disposing without commit leaves nothing behind. Writes are synchronous: see LayerStore. */
export interface LayerWriter extends Disposable {
  /** Appends; the buffer may be reused by the caller afterwards. Throws DISK_FULL or IO_FAILED. */
  write(bytes: Uint8Array): void;
  /** Descriptor of the empty file, for a native call that writes all of the tar instead of `write`. */
  readonly descriptor: number;
  /** Takes over from that call how many bytes can be read so far; the first time, tells `onPacking` of the layer. */
  grown(size: number, onPacking: OnPacking): void;
  /** Takes over what that call has written: its digest and bytes. */
  written(diffID: DiffID, size: number): void;
  /** Makes the layer visible under its diffID; idempotent towards layers that exist already. */
  commit(): Layer;
}

export interface LayerStore {
  create(): LayerWriter;
  get(diffID: DiffID): Layer | undefined;
  remove(diffID: DiffID): void;
  list(): Iterable<DiffID>;
  /**
   * Notes of what this process made and the disk may not have (see UnsyncedNotes.take), for native/write-back.ts: layers that
   * still have theirs when the machine crashes are gone afterwards.
   */
  unsynced(): readonly string[];
}

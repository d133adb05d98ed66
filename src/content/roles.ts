/**
 * Roles of whatever holds blobs: a registry, an OCI layout, the local store. Each medium implements those that
 * it can play; moving an image is always `copyImage(source, sink)`.
 */
import type { Digest } from '../base/digest.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Reference } from '../oci/reference.ts';

/** What is told while bytes are under way. */
export type Notice =
  /** A registry's own words for people. */
  | { readonly kind: 'warning'; readonly host: string; readonly text: string }
  | { readonly kind: 'retry'; readonly host: string; readonly reason: string; readonly waitMs: number };

export interface IoOptions {
  readonly signal: AbortSignal;
  /** Called with the bytes moved so far. */
  readonly onProgress?: ((current: number) => void) | undefined;
  readonly onNotice?: ((notice: Notice) => void) | undefined;
}

export interface BlobSource {
  /**
   * The blob's bytes. Verified: the iteration throws DIGEST_MISMATCH or SIZE_MISMATCH at its end, at the latest.
   * `isVerifiedBySink`: whoever reads computes the digest itself, so once is enough; the size is checked in any case.
   */
  open(
    blob: Descriptor,
    options: IoOptions & { readonly isVerifiedBySink?: boolean },
  ): AsyncIterable<Uint8Array>;
  /** What came was damaged: another place is asked next, if there is one. Returns where it came from, for people. */
  distrust?(blob: Descriptor): string;
}

export interface BlobSink {
  /** It computes the digest of what it keeps. */
  readonly isVerifying?: boolean;
  /** A manifest was refused because the sink lacks blobs that it names (it may have lost them since `has`). */
  isIncomplete?(error: unknown): boolean;
  has(blob: Descriptor, options: IoOptions): Promise<boolean>;
  /**
   * Idempotent. `open` may be called again after a fault. The blob is visible only when complete and verified.
   * `origin` is a repository of the same registry that is known to hold the blob (cross-repository mount).
   */
  put(
    blob: Descriptor,
    open: () => AsyncIterable<Uint8Array>,
    options: IoOptions & { readonly origin?: Reference },
  ): Promise<void>;
}

export interface Resolver {
  /** Throws IMAGE_NOT_FOUND. */
  resolve(reference: Reference, options: IoOptions): Promise<Descriptor>;
}

export interface Tagger {
  /** The manifest was put before. Last step of every copy. */
  tag(reference: Reference, manifest: Descriptor, options: IoOptions): Promise<void>;
}

/** Blobs by digest alone, where the size is not known beforehand (documents). */
export interface DocumentSource {
  /** Bytes of a manifest, index or config; throws BLOB_NOT_FOUND, or SIZE_MISMATCH above `maxSize`. */
  read(digest: Digest, maxSize: number): Promise<Uint8Array>;
}

/**
 * Where cache artifacts lie: a repository of a registry, or a directory. Artifacts are found by tag; a tag leads to
 * one manifest at a time, and whoever writes it last has written it.
 */
import type { BlobSink, BlobSource, IoOptions } from '../../content/roles.ts';
import type { Descriptor } from '../../oci/documents.ts';
import type { Range } from '../../registry/range.ts';
import type { Document } from './artifacts.ts';

export interface CachePlace {
  /** For people, e.g. `registry.example/team/cache:main`. */
  readonly name: string;
  /** The same for two places where a blob of one is a blob of the other; what lazy blobs are remembered by. */
  readonly repository: string;
  /** The tag that the user named: where plans lie. */
  readonly tag: string;
  /** The manifest of a tag, of at most MAX_DOCUMENT bytes; undefined where there is none. Throws REGISTRY_*, IO_FAILED. */
  fetch(tag: string, io: IoOptions): Promise<Document | undefined>;
  readonly source: BlobSource;
  /** A part of a blob, not verified. */
  openRange(blob: Descriptor, range: Range, io: IoOptions): AsyncIterable<Uint8Array>;
  /** Mounts what another repository of the same registry is known to hold. */
  readonly sink: BlobSink;
  /** Sets a tag. Everything that the manifest names was put before. */
  publish(tag: string, manifest: Document, io: IoOptions): Promise<void>;
  /** Removes what nothing leads to any more, where nobody else does. Throws IO_FAILED. */
  tidy?(): void;
}

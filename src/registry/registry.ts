/** The registry contract: one object for all hosts; each repository is a source and a sink of blobs. */
import type { Dispatcher } from 'undici';
import type { BlobSink, BlobSource, IoOptions, Resolver, Tagger } from '../content/roles.ts';
import type { Digest } from '../base/digest.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Reference } from '../oci/reference.ts';
import type { Credentials } from './auth-file.ts';
import type { FetchedManifest } from './manifests.ts';
import type { Range } from './range.ts';

export interface RemoteSource extends BlobSource, Resolver {
  /** A manifest or an index by tag or digest, in one request. Throws REGISTRY_NOT_FOUND, IMAGE_INVALID, REGISTRY_*. */
  get(reference: Reference, options: IoOptions): Promise<FetchedManifest>;
  /** A part of a blob, not verified: the caller knows what it must be. Mirrors are not asked. */
  openRange(blob: Descriptor, range: Range, options: IoOptions): AsyncIterable<Uint8Array>;
}

export interface GrowingSource {
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly made: Promise<Descriptor>;
}

export interface RemoteSink extends BlobSink, Tagger {
  /** Of the manifest that a tag or a digest names; undefined where it names none, or the registry does not say. */
  findDigest(name: string, options: IoOptions): Promise<string | undefined>;
  /** Puts a manifest under a tag, in one request; everything that it names was put before. Overwrites. */
  publish(tag: string, manifest: Descriptor, bytes: Uint8Array, options: IoOptions): Promise<void>;
  /**
   * Tries to upload a blob while it is being made. `open` gives its bytes as they come, `made` its descriptor once all
   * are there. Whether the registry has it now: where not, it is to be `put`. Throws what `made` rejects with.
   */
  putGrowing(growing: GrowingSource, options: IoOptions): Promise<boolean>;
  /** Whether a push may begin: asks for an upload, and gives it back. Throws REGISTRY_*. */
  checkPush(options: IoOptions): Promise<void>;
}

export interface Registry extends AsyncDisposable {
  /**
   * GET of any address of http(s), with the proxies and the authorities of the settings. Redirects are answers. Throws
   * what undici throws.
   */
  fetch(
    url: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData>;
  /** Reading from a repository. Manifests and indexes are opened like blobs, told apart by their media type. */
  source(reference: Reference): RemoteSource;
  /** Writing to a repository. */
  sink(reference: Reference): RemoteSink;
  /**
   * Whether credentials are good for the host: what `login` asks. Without them, those of the keychain are tried;
   * returns where they came from, undefined for none. Throws REGISTRY_AUTH.
   */
  checkLogin(
    host: string,
    credentials: Credentials | undefined,
    options: IoOptions,
  ): Promise<string | undefined>;
  /** All tags of a repository, in the registry's order. */
  tags(reference: Reference, options: IoOptions): AsyncIterable<string>;
  /** Manifests that name `subject` as theirs; of one artifact type, if it is given. */
  referrers(
    reference: Reference,
    subject: Digest,
    options: IoOptions & { readonly artifactType?: string },
  ): Promise<readonly Descriptor[]>;
}

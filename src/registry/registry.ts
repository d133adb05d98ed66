/** The registry contract: one object for all hosts; each repository is a source and a sink of blobs. */
import type { BlobSink, BlobSource, IoOptions, Resolver, Tagger } from '../content/roles.ts';
import type { Digest } from '../base/digest.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Reference } from '../oci/reference.ts';
import type { Credentials } from './auth-file.ts';

export interface RemoteSource extends BlobSource, Resolver {}

export interface RemoteSink extends BlobSink, Tagger {
  /** Whether a push may begin: asks for an upload, and gives it back. Throws REGISTRY_*. */
  checkPush(options: IoOptions): Promise<void>;
}

export interface Registry extends AsyncDisposable {
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

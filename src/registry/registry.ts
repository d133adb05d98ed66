/** The registry contract: one object for all hosts; each repository is a source and a sink of blobs. */
import type { BlobSink, BlobSource, IoOptions, Resolver, Tagger } from '../content/roles.ts';
import type { Reference } from '../oci/reference.ts';

export interface RemoteSource extends BlobSource, Resolver {}
export interface RemoteSink extends BlobSink, Tagger {}

export interface Registry extends AsyncDisposable {
  /** Reading from a repository. Manifests and indexes are opened like blobs, told apart by their media type. */
  source(reference: Reference): RemoteSource;
  /** Writing to a repository. */
  sink(reference: Reference): RemoteSink;
  /** Whether the credentials are good for the host: what `login` asks. Throws REGISTRY_AUTH. */
  checkLogin(
    host: string,
    credentials: { readonly username: string; readonly password: string },
    options: IoOptions,
  ): Promise<void>;
}

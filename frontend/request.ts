/** What the frontend is asked: a Dockerfile, what to build of it, and how images are found. */
import type { Digest } from '../src/base/digest.ts';
import type { ImageConfig, Platform } from '../src/oci/documents.ts';

export interface ResolvedImage {
  /** As shown in vertex names, e.g. `docker.io/library/busybox:latest`. */
  readonly reference: string;
  readonly manifest: Digest;
  readonly config: ImageConfig;
}

export type NamedContext =
  | { readonly kind: 'directory' }
  | { readonly kind: 'image'; readonly reference: string };

export interface FrontendRequest {
  /** As shown to the user. */
  readonly file: string;
  readonly text: string;
  readonly target?: string;
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean;
  readonly network: 'default' | 'none' | 'host';
  readonly namedContexts: Readonly<Record<string, NamedContext>>;
  readonly resolveImage: (reference: string, platform: Platform) => Promise<ResolvedImage>;
}

/** What the frontend is asked: a Dockerfile, what to build of it, and how images are found. */
import type { Entitlement } from '../src/graph/entitlements.ts';
import type { Digest } from '../src/base/digest.ts';
import type { FrontendWarning } from '../src/graph/graph.ts';
import type { GitOp } from '../src/graph/ops.ts';
import type { ImageConfig, Platform } from '../src/oci/documents.ts';

export interface ResolvedImage {
  /** As shown in vertex names, e.g. `docker.io/library/busybox:latest`. */
  readonly reference: string;
  readonly manifest: Digest;
  readonly config: ImageConfig;
}

export type GitSource = Omit<GitOp, 'kind'>;

/** What a name given by --build-context means; also the build context itself. */
export type NamedContext =
  | { readonly kind: 'directory' }
  | { readonly kind: 'image'; readonly reference: string }
  /** Something that is in the store already: an OCI layout, an unpacked archive. */
  | { readonly kind: 'stored'; readonly image: ResolvedImage }
  | { readonly kind: 'git'; readonly source: GitSource }
  /** `target:NAME`: a stage of the same Dockerfile. */
  | { readonly kind: 'stage'; readonly name: string };

export interface FrontendRequest {
  /** As shown to the user. */
  readonly file: string;
  readonly text: string;
  readonly target?: string;
  readonly platform: Platform;
  /** The user named the platform: the image is for it, whatever its base is for. */
  readonly isPlatformGiven?: boolean;
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Execute every step, or those of the stages named. */
  readonly noCache: boolean | readonly string[];
  readonly network: 'default' | 'none' | 'host';
  /** What RUN may ask for besides the default, as given by --allow. */
  readonly allow?: readonly Entitlement[];
  /** The build context; absent: the user's directory. */
  readonly context?: NamedContext;
  readonly namedContexts: Readonly<Record<string, NamedContext>>;
  /** Whether the ignore file leaves out a path (relative, clean); absent where it has exceptions. */
  readonly isIgnored?: (path: string) => boolean;
  /** Seconds since the epoch, for SOURCE_DATE_EPOCH=context; undefined where the context has no time of its own. */
  readonly contextTime?: () => Promise<number | undefined>;
  readonly resolveImage: (reference: string, platform: Platform) => Promise<ResolvedImage>;
  /** Told of warnings as they are found, so that they are seen also where an error follows. */
  readonly onWarning?: (warning: FrontendWarning) => void;
}

export type { Entitlement } from '../src/graph/entitlements.ts';

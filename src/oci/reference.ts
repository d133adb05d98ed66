/** References: `registry/repository:tag@digest`, parsed and normalised (grammar of distribution/reference). */
import type { Digest } from '../base/digest.ts';

export interface Reference {
  /** `docker.io`, `localhost:5000`, … never empty. */
  readonly registry: string;
  /** `library/busybox`, `team/app`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

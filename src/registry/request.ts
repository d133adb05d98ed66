/** A request to a registry, as the client asks for it; and what is told while it is under way. */
import type { Notice } from '../content/roles.ts';
import type { Asked } from './registry-error.ts';

/** What authentication must know of a request. */
export interface Need {
  /** `repository:NAME:pull,push`, own repository first. */
  readonly scopes: readonly string[];
  readonly asked: Asked;
  readonly signal: AbortSignal;
  /** A long request: its token must not be half spent. */
  readonly isLarge?: boolean;
  /** Told of waits and of warnings. */
  readonly onNotice?: ((notice: Notice) => void) | undefined;
}

export interface Request extends Need {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with query below the API's root, or an absolute URL (a Location). */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Opened anew for each try. */
  readonly body?: () => AsyncIterable<Uint8Array> | Uint8Array;
  /** Statuses that are answers, not errors. */
  readonly accept: readonly number[];
  readonly tries?: number;
}

/** Errors of registries: which side, which host, what was asked, what it said. */
import { TsbuildError, type ErrorCode } from '../base/errors.ts';

export interface Asked {
  /** `pull from` or `push to`. */
  readonly side: 'pull from' | 'push to' | 'log in to';
  readonly host: string;
  readonly repository: string;
  /** E.g. `fetch manifest latest`. */
  readonly action: string;
}

export function statusError(asked: Asked, status: number, body: string): TsbuildError {
  const words = wordsOf(body);
  const message = `cannot ${asked.side} ${asked.host}: ${asked.action} of ${JSON.stringify(asked.repository)} failed with status ${status}${words === '' ? '' : `: ${words}`}`;
  return new TsbuildError(codeOf(status), message, hintOf(status, asked));
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'REGISTRY_AUTH';
  return status === 404 ? 'REGISTRY_NOT_FOUND' : 'REGISTRY_REFUSED';
}

function hintOf(status: number, { host, side }: Asked): { readonly hint?: string } {
  if (status === 401) return { hint: `log in with "tsbuild login ${host}"` };
  if (status === 403) return { hint: 'check that the account may do this' };
  if (status === 404 && side === 'pull from') return { hint: 'check the name and the tag' };
  if (status === 413) return { hint: 'a proxy before the registry limits the size of requests' };
  return status === 429 ? { hint: 'the registry limits how much may be asked of it; wait, or log in' } : {};
}

/** The registry's own words: code, message and detail of each error, or the beginning of a text. */
function wordsOf(body: string): string {
  try {
    const parsed = JSON.parse(body) as {
      readonly errors?: readonly {
        readonly code?: unknown;
        readonly message?: unknown;
        readonly detail?: unknown;
      }[];
      readonly details?: unknown;
    };
    if (Array.isArray(parsed.errors))
      return parsed.errors
        .map(({ code, message, detail }) =>
          [code, message, typeof detail === 'string' ? detail : undefined]
            .filter((part) => typeof part === 'string' && part !== '')
            .join(': '),
        )
        .join('; ');
    if (typeof parsed.details === 'string') return parsed.details;
  } catch {
    // Not JSON: a proxy's page, or a plain text.
  }
  return body
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 200);
}

export function unreachable(asked: Asked, error: unknown): TsbuildError {
  if (error instanceof TsbuildError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  const reason = cause instanceof Error ? (cause.message === '' ? code : cause.message) : String(cause);
  const message = `cannot ${asked.side} ${asked.host}: ${asked.action} of ${JSON.stringify(asked.repository)} failed: ${reason}`;
  return new TsbuildError('REGISTRY_UNREACHABLE', message, { cause: error, ...reachHint(code, asked.host) });
}

function reachHint(code: string, host: string): { readonly hint?: string } {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return { hint: 'check the name of the registry and the network' };
  if (code === 'ECONNREFUSED') return { hint: 'check that the registry runs and listens there' };
  if (/CERT|SELF_SIGNED|ISSUER|ALTNAME/.test(code))
    return {
      hint: `name its authority with --registry-ca ${host}=FILE, or put it into /etc/docker/certs.d/${host}/ca.crt`,
    };
  if (/SSL|EPROTO/.test(code))
    return { hint: `if the registry speaks plain HTTP, use --insecure-registry ${host}` };
  return {};
}

/**
 * Errors of registries: which side, which host, what was asked, what it said, what to do.
 *
 * Codes by class: REGISTRY_AUTH (401, 403), REGISTRY_NOT_FOUND (404), REGISTRY_UNREACHABLE (no answer at all),
 * REGISTRY_REFUSED (any other refusal), REGISTRY_PROTOCOL (an answer that is none of a registry).
 */
import { TsbuildError, type ErrorCode } from '../base/errors.ts';
import { redact } from '../base/redact.ts';

export interface Asked {
  readonly side: 'pull from' | 'push to' | 'log in to';
  /** The registry as the user names it. */
  readonly host: string;
  readonly repository: string;
  /** E.g. `fetching manifest latest`. */
  readonly action: string;
  /** The host that was really asked, where it is another one. */
  readonly via?: string;
}

/** What a refusal says, as far as it can be read. */
export interface Refusal {
  readonly status: number;
  /** Upper-case codes of the distribution specification. */
  readonly codes: readonly string[];
  readonly words: string;
}

const MAX_WORDS = 600;

export function readRefusal(status: number, body: string): Refusal {
  const { codes, words } = parseBody(body);
  return {
    status,
    codes,
    words: redact(words.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')).slice(0, MAX_WORDS),
  };
}

interface Said {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly detail?: unknown;
}

/** why: an answer that was cut, or got something appended on its way, still says what is wrong. */
function codesInText(body: string): readonly string[] {
  return [...body.matchAll(/"code"\s*:\s*"([A-Za-z_]{1,64})"/g)].map(([, code = '']) => code.toUpperCase());
}

function parseBody(body: string): { readonly codes: readonly string[]; readonly words: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    // Not JSON: a proxy's page, or a plain text.
    const text = body.replace(/<(style|script)[\s\S]*?<\/\1>|<[^>]*>/gi, ' ');
    return { codes: codesInText(body), words: text.replace(/\s+/g, ' ').trim().slice(0, 200) };
  }
  if (typeof parsed !== 'object' || parsed === null) return { codes: [], words: '' };
  const { errors, details, error, error_description, message } = parsed as {
    readonly errors?: readonly (Said | null)[];
    readonly details?: unknown;
    readonly error?: unknown;
    readonly error_description?: unknown;
    readonly message?: unknown;
  };
  if (Array.isArray(errors)) {
    const said = errors.map((each: Said | null) => each ?? {});
    return {
      codes: said.flatMap(({ code }) => (typeof code === 'string' ? [code.toUpperCase()] : [])),
      words: said.map(wordsOf).join('; '),
    };
  }
  const texts = [details, error, error_description, message].filter(
    (each) => typeof each === 'string' && each !== '',
  );
  return { codes: [], words: texts.join(': ') };
}

function wordsOf({ code, message, detail }: Said): string {
  const shown =
    detail === undefined || detail === null
      ? ''
      : typeof detail === 'string'
        ? detail
        : JSON.stringify(detail);
  return [code, message, shown === '{}' || shown === '[]' || shown === message ? '' : shown]
    .filter((part) => typeof part === 'string' && part !== '')
    .join(': ');
}

export function refusalError(asked: Asked, refusal: Refusal): TsbuildError {
  const { status, words } = refusal;
  const message = `${beginning(asked)} failed with status ${status}${words === '' ? '' : `: ${words}`}`;
  const hint = hintOf(refusal, asked);
  return new TsbuildError(codeOf(refusal), message, hint === undefined ? {} : { hint });
}

export function beginning({ side, host, repository, action, via }: Asked): string {
  const where = via === undefined || via === host ? host : `${host} (by ${via})`;
  const what = repository === '' ? action : `${action} of ${JSON.stringify(repository)}`;
  return `cannot ${side} ${where}: ${what}`;
}

/** An answer that is none of a registry. */
export function protocolError(asked: Asked, what: string, hint?: string): TsbuildError {
  return new TsbuildError(
    'REGISTRY_PROTOCOL',
    `${beginning(asked)} failed: ${what}`,
    hint === undefined ? {} : { hint },
  );
}

function codeOf({ status, codes }: Refusal): ErrorCode {
  if (status === 401 || status === 403) return 'REGISTRY_AUTH';
  if (status === 404) return 'REGISTRY_NOT_FOUND';
  if (codes.includes('DENIED') || codes.includes('UNAUTHORIZED')) return 'REGISTRY_AUTH';
  return 'REGISTRY_REFUSED';
}

function hintOf({ status, codes, words }: Refusal, { host, side }: Asked): string | undefined {
  if (status === 401) return `log in with "tsbuild login ${host}", or check the account's rights`;
  if (status === 403)
    return host === 'ghcr.io'
      ? 'the token needs "packages: write", and the package must be linked to the repository'
      : 'check that the account may do this';
  if (status === 404)
    return side === 'push to' || codes.includes('NAME_UNKNOWN')
      ? 'create the repository first, or check its name'
      : 'check the name and the tag';
  if (status === 413) return 'a proxy before the registry limits the size of requests; try --chunk-size';
  if (status === 429)
    return side === 'pull from' && /pull rate limit/i.test(words)
      ? `log in with "tsbuild login ${host}", or use a mirror (--registry-mirror)`
      : 'the registry limits how much may be asked of it; wait, or log in';
  if (isImmutable(words)) return 'push another tag: this one may not be changed';
  if (status === 415 || (status === 400 && codes.includes('MANIFEST_INVALID')))
    return 'an old registry may not know OCI images: try --format docker';
  if (status === 405) return 'it may be a mirror that only serves pulls';
  return status >= 500 ? 'the registry has a problem of its own; try again later' : undefined;
}

export function isImmutable(words: string): boolean {
  return /immutable|immutability|cannot be overwritten|already exists and/i.test(words);
}

/** A request that got no answer. */
export function unreachable(asked: Asked, error: unknown): TsbuildError {
  if (error instanceof TsbuildError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  const reason = cause instanceof Error ? (cause.message === '' ? code : cause.message) : String(cause);
  const message = `${beginning(asked)} failed: ${redact(reasonOf(code, reason, cause))}`;
  const hint = reachHint(code, reason, asked.via ?? asked.host);
  return new TsbuildError('REGISTRY_UNREACHABLE', message, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** OpenSSL's words, where there are better ones. */
function reasonOf(code: string, reason: string, cause: unknown): string {
  if (isWrongVersion(reason)) return 'the server does not speak TLS';
  if (/alert.*(116|certificate required)|handshake failure/i.test(reason))
    return `the server wants a client certificate (${firstLine(reason)})`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is for other names (${namesOf(cause) ?? firstLine(reason)})`;
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired';
  if (code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid yet';
  if (/^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO)/.test(code))
    return `its certificate is signed by an authority that is not trusted here (${firstLine(reason)})`;
  if (cause instanceof AggregateError) return code === '' ? 'no address answers' : code;
  return firstLine(reason);
}

function namesOf(cause: unknown): string | undefined {
  const cert = cause instanceof Error && 'cert' in cause ? cause.cert : undefined;
  const names =
    typeof cert === 'object' && cert !== null && 'subjectaltname' in cert ? cert.subjectaltname : undefined;
  return typeof names === 'string' ? names : undefined;
}

export function isWrongVersion(reason: string): boolean {
  return /wrong version number|packet length too long|unknown protocol|http request/i.test(reason);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function reachHint(code: string, reason: string, host: string): string | undefined {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'check the name of the registry and the network';
  if (code === 'ECONNREFUSED') return 'check that the registry runs and listens there';
  if (isWrongVersion(reason) || code === 'EPROTO')
    return isWrongVersion(reason)
      ? `if the registry speaks plain HTTP, use --insecure-registry ${host}`
      : `put a client certificate into /etc/docker/certs.d/${host}/ (client.cert, client.key)`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'use a name that the certificate holds';
  if (code === 'CERT_NOT_YET_VALID') return 'check the clock, of this machine first';
  if (code === 'CERT_HAS_EXPIRED') return 'renew the certificate of the registry, or check the clock';
  if (/CERT|SELF_SIGNED|ISSUER|^UNABLE_TO/.test(code))
    return `name its authority with --registry-ca ${host}=FILE, or put it into /etc/docker/certs.d/${host}/ca.crt`;
  if (/SSL|TLS/.test(code))
    return `put a client certificate into /etc/docker/certs.d/${host}/ (client.cert, client.key)`;
  if (/^(UND_ERR_SOCKET|ECONNRESET)$/.test(code))
    return `try again; if it is always so: a registry that wants a client certificate ends connections like that (/etc/docker/certs.d/${host}/)`;
  return undefined;
}

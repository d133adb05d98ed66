/**
 * References: `registry/repository:tag@digest`, parsed and normalised as docker does.
 *
 * The first component is a registry if it has a `.` or `:`, is `localhost`, or has an upper-case letter; otherwise
 * the registry is docker.io, and a single name lies in its `library/`.
 *
 * Source: distribution/reference, regexp.go and normalize.go.
 */
import { isDigest, type Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';

export interface Reference {
  /** `docker.io`, `localhost:5000`, … never empty. */
  readonly registry: string;
  /** `library/busybox`, `team/app`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const DOMAIN =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const MAX_REPOSITORY = 255;

/** Throws REFERENCE_INVALID. */
export function parseReference(text: string): Reference {
  const fail = (reason: string, hint?: string): TsbuildError =>
    new TsbuildError(
      'REFERENCE_INVALID',
      `invalid reference ${JSON.stringify(text)}: ${reason}`,
      hint === undefined ? {} : { hint },
    );
  if (text === '') throw fail('it is empty');
  if (/^[0-9a-f]{64}$/.test(text)) throw fail('it looks like an image id', 'name the image');
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest))
    throw fail(`${JSON.stringify(digest)} is not a digest by sha256 or sha512`);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/') && colon >= 0;
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  const name = hasTag ? named.slice(0, colon) : named;
  if (tag !== undefined && !TAG.test(tag)) throw fail(`invalid tag ${JSON.stringify(tag)}`);
  const { registry, repository } = splitName(name);
  if (!DOMAIN.test(registry)) throw fail(`invalid registry ${JSON.stringify(registry)}`);
  if (/[A-Z]/.test(repository)) throw fail('the repository name must be lowercase');
  if (repository.length > MAX_REPOSITORY)
    throw fail(`the repository name is longer than ${MAX_REPOSITORY} characters`);
  if (repository === '' || !repository.split('/').every((part) => COMPONENT.test(part)))
    throw fail('invalid reference format', 'write [registry/]repository[:tag]');
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function splitName(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isRegistry = slash >= 0 && (/[.:A-Z]/.test(first) || first === 'localhost');
  if (isRegistry && first !== 'docker.io' && first !== 'index.docker.io')
    return { registry: first, repository: name.slice(slash + 1) };
  const path = isRegistry ? name.slice(slash + 1) : name;
  return { registry: 'docker.io', repository: path.includes('/') ? path : `library/${path}` };
}

/** The tag `latest` where neither tag nor digest is given. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: 'latest' }
    : reference;
}

export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** As people write it: without docker.io/library. */
export function familiarName(reference: Reference): string {
  const { registry, repository } = reference;
  const short =
    registry !== 'docker.io'
      ? `${registry}/${repository}`
      : /^library\/[^/]+$/.test(repository)
        ? repository.slice('library/'.length)
        : repository;
  const { tag, digest } = reference;
  return `${short}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

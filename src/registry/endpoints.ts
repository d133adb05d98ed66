/**
 * Where a repository is found: mirrors in their order, then the registry itself. Pushes go to the registry alone.
 */
import { TsbuildError } from '../base/errors.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import { isListed, mayBePlain } from './address.ts';
import {
  joinPath,
  repositoryBehind,
  rulesFor,
  type ClientCertificate,
  type MirrorRule,
  type RegistryRule,
} from './rules.ts';
import type { RegistrySettings } from './settings.ts';

export interface Endpoint {
  /** `host[:port]` to connect to. */
  readonly authority: string;
  /** Undefined: https, or http where the host may be plain and does not speak TLS. */
  readonly scheme?: 'http' | 'https';
  readonly mayBePlain: boolean;
  /** Certificates are not checked. */
  readonly isUnverified: boolean;
  /** Root of the API, `/v2` as a rule. */
  readonly apiPath: string;
  /** The repository as it is called there. */
  readonly repository: string;
  readonly isMirror: boolean;
  readonly pulls: MirrorRule['pulls'];
  /** Whose images they are: `?ns=`. */
  readonly namespace?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly authorities: readonly string[];
  readonly clientCertificate?: ClientCertificate;
  readonly chunkSize?: number;
}

/** Docker Hub's registry has another name than its images. */
export function authorityOf(registry: string): string {
  return registry === 'docker.io' || registry === 'index.docker.io'
    ? 'registry-1.docker.io'
    : registry.toLowerCase();
}

/** Throws REGISTRY_REFUSED where configuration blocks the registry. */
export async function endpointsFor(
  reference: Reference,
  purpose: 'pull' | 'push',
  settings: RegistrySettings,
): Promise<readonly Endpoint[]> {
  const matching = rulesFor(await settings.rules(), reference);
  const blocking = matching.find((rule) => rule.isBlocked === true);
  if (blocking !== undefined)
    throw new TsbuildError(
      'REGISTRY_REFUSED',
      `cannot ${purpose === 'pull' ? 'pull from' : 'push to'} ${reference.registry}: ${JSON.stringify(blocking.origin)} blocks ${JSON.stringify(blocking.prefix)}`,
      { hint: `name another registry than that of ${JSON.stringify(familiarName(reference))}` },
    );
  const primary = primaryOf(reference, matching, settings);
  const mirroring = matching.find((rule) => rule.mirrors.length > 0);
  if (purpose === 'push' || mirroring === undefined) return [primary];
  const mirrors = mirroring.mirrors.map((mirror) => mirrorOf(mirror, mirroring.prefix, reference, settings));
  const staysAtMirrors = settings.noFallback || mirroring.fallsBack === false;
  return staysAtMirrors ? mirrors : [...mirrors, primary];
}

function primaryOf(
  reference: Reference,
  rules: readonly RegistryRule[],
  settings: RegistrySettings,
): Endpoint {
  const moved = rules.find(({ location }) => location !== undefined);
  const place = moved?.location;
  const authority = authorityOf(place?.authority ?? reference.registry);
  const isInsecure = rules.find((rule) => rule.isInsecure !== undefined)?.isInsecure === true;
  const authorities = rules.flatMap((rule) => rule.authorities ?? []);
  const clientCertificate = rules.find((rule) => rule.clientCertificate !== undefined)?.clientCertificate;
  const chunkSize = settings.chunkSize ?? rules.find((rule) => rule.chunkSize !== undefined)?.chunkSize;
  return {
    authority,
    ...(place?.scheme === undefined ? {} : { scheme: place.scheme }),
    mayBePlain: isInsecure || mayBePlain(authority, settings.insecure),
    isUnverified: isInsecure || isListed(authority, settings.insecure),
    apiPath: place?.apiPath ?? '/v2',
    repository:
      moved === undefined || place === undefined
        ? reference.repository
        : joinPath(place.path, repositoryBehind(moved.prefix, reference)),
    isMirror: false,
    pulls: 'all',
    headers: {},
    authorities,
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
    ...(chunkSize === undefined ? {} : { chunkSize }),
  };
}

function mirrorOf(
  mirror: MirrorRule,
  prefix: string,
  reference: Reference,
  settings: RegistrySettings,
): Endpoint {
  const authority = authorityOf(mirror.authority);
  const isInsecure = mirror.isInsecure === true;
  return {
    authority,
    ...(mirror.scheme === undefined ? {} : { scheme: mirror.scheme }),
    mayBePlain: isInsecure || mirror.scheme === 'http' || mayBePlain(authority, settings.insecure),
    isUnverified: isInsecure || isListed(authority, settings.insecure),
    apiPath: mirror.apiPath ?? '/v2',
    repository: joinPath(mirror.path, repositoryBehind(prefix, reference)),
    isMirror: true,
    pulls: mirror.pulls,
    ...(mirror.sendsNamespace ? { namespace: reference.registry } : {}),
    headers: mirror.headers ?? {},
    authorities: mirror.authorities ?? [],
    ...(mirror.clientCertificate === undefined ? {} : { clientCertificate: mirror.clientCertificate }),
  };
}

/** The root of a registry, without a repository. */
/** A host of the web that is no registry. */
export function webEndpoint(authority: string): Endpoint {
  const none = { apiPath: '', repository: '', headers: {}, authorities: [] };
  return { authority, mayBePlain: false, isUnverified: false, isMirror: false, pulls: 'all', ...none };
}

export async function rootEndpoint(registry: string, settings: RegistrySettings): Promise<Endpoint> {
  const [endpoint] = await endpointsFor({ registry, repository: 'x' }, 'push', settings);
  if (endpoint === undefined) throw new RangeError(registry);
  return { ...endpoint, repository: '' };
}

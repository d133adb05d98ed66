/**
 * TLS identities: which authorities are trusted for a host, and who we are to it.
 *
 * Authorities add up: Node's, the system's bundles, those of the host's directory (docker's and containers'
 * certs.d), those of configuration. A token server and a storage of a registry may be signed by the registry's
 * authorities as well; its client certificate goes to the registry alone.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { TsbuildError } from '../base/errors.ts';
import { hostnameOf } from './address.ts';
import { namesOf } from './configuration/files.ts';
import type { Endpoint } from './endpoints.ts';
import type { ClientCertificate } from './rules.ts';
import type { RegistrySettings } from './settings.ts';

export interface TlsIdentity {
  /** Equal for equal identities. */
  readonly key: string;
  readonly isUnverified: boolean;
  readonly context: () => SecureContext;
}

export interface TlsIdentities {
  /** The identity towards `authority` (`host[:port]`) while serving requests of `endpoint`. */
  of(authority: string, endpoint: Endpoint): TlsIdentity;
}

export function createTlsIdentities(settings: RegistrySettings): TlsIdentities {
  const known = new Map<string, TlsIdentity>();
  let roots: readonly string[] | undefined;
  const trusted = (): readonly string[] => (roots ??= readRoots(settings.systemAuthorities));

  function make(
    files: readonly string[],
    client: ClientCertificate | undefined,
    isUnverified: boolean,
  ): TlsIdentity {
    const key = JSON.stringify([files, client ?? null, isUnverified]);
    const before = known.get(key);
    if (before !== undefined) return before;
    let context: SecureContext | undefined;
    const identity: TlsIdentity = {
      key,
      isUnverified,
      // Reading all authorities takes as long as connecting; who checks nothing needs none.
      context: () =>
        (context ??= createContext([...(isUnverified ? [] : trusted()), ...files.map(readPem)], client)),
    };
    known.set(key, identity);
    return identity;
  }

  return {
    of(authority, endpoint) {
      const isOwn = authority === endpoint.authority;
      const own = hostFiles(endpoint.authority, settings);
      const there = isOwn ? own : hostFiles(authority, settings);
      const files = [...new Set([...endpoint.authorities, ...own.authorities, ...there.authorities])];
      const client = isOwn ? (endpoint.clientCertificate ?? own.client) : there.client;
      const isSameHost = hostnameOf(authority) === hostnameOf(endpoint.authority);
      return make(files, client, endpoint.isUnverified && isSameHost);
    },
  };
}

function createContext(ca: readonly string[], client: ClientCertificate | undefined): SecureContext {
  try {
    return createSecureContext({
      ca: [...ca],
      ...(client === undefined ? {} : { cert: readPem(client.cert), key: readPem(client.key) }),
    });
  } catch (error) {
    if (error instanceof TsbuildError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new TsbuildError('CONFIG_INVALID', `cannot use the certificates of a registry: ${reason}`, {
      cause: error,
      ...(client === undefined
        ? {}
        : { hint: `check ${JSON.stringify(client.cert)} and ${JSON.stringify(client.key)}` }),
    });
  }
}

interface HostFiles {
  readonly authorities: readonly string[];
  readonly client: ClientCertificate | undefined;
}

/** What flags name for a host, and the first of its directories that exists. */
function hostFiles(authority: string, settings: RegistrySettings): HostFiles {
  const directory = settings.certificateDirectories
    .flatMap((each) => [join(each, authority), join(each, authority.replace(/:(\d+)$/, '_$1_'))])
    .find((each) => existsSync(each));
  const names = directory === undefined ? [] : namesOf(directory);
  const inside = (name: string): string => join(directory ?? '', name);
  const given = settings.clientCertificates.get(authority);
  return {
    authorities: [
      ...(settings.authorities.get(authority) ?? []),
      ...names.filter((name) => name.endsWith('.crt')).map(inside),
    ],
    client: given ?? pairOf(names, inside),
  };
}

/** `X.cert` and `X.key`; one without the other is a mistake that would show as a refusal only. */
function pairOf(names: readonly string[], inside: (name: string) => string): ClientCertificate | undefined {
  for (const name of names) {
    const half = /^(.*)\.(cert|key)$/.exec(name);
    if (half === null) continue;
    const other = `${half[1] ?? ''}.${half[2] === 'cert' ? 'key' : 'cert'}`;
    if (!names.includes(other))
      throw new TsbuildError(
        'CONFIG_INVALID',
        `${JSON.stringify(inside(name))} lacks ${JSON.stringify(other)} beside it`,
        { hint: 'a client certificate is a pair X.cert and X.key; an authority is named X.crt' },
      );
    if (half[2] === 'cert') return { cert: inside(name), key: inside(other) };
  }
  return undefined;
}

/** Node's own authorities and the system's, each once. */
function readRoots(paths: readonly string[]): readonly string[] {
  const found = new Map(rootCertificates.map((pem) => [bodyOf(pem), pem]));
  for (const path of paths)
    for (const file of filesAt(path))
      for (const pem of readText(file).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ??
        [])
        if (!found.has(bodyOf(pem))) found.set(bodyOf(pem), pem);
  return [...found.values()];
}

function bodyOf(pem: string): string {
  return pem.replace(/-----[A-Z ]+-----|\s+/g, '');
}

function filesAt(path: string): readonly string[] {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  if (!found.isDirectory()) return [path];
  return namesOf(path)
    .filter((name) => /\.(pem|crt|cer)$/.test(name))
    .map((name) => join(path, name));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // why: one unreadable file among the system's must not make every registry unreachable.
    return '';
  }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new TsbuildError('CONFIG_INVALID', `cannot read the certificate ${JSON.stringify(path)}`, {
      cause: error,
    });
  }
}

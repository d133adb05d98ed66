/**
 * Rules: what configuration says of registries, whatever file it stands in. One form for tsbuild's own file,
 * containers' registries.conf, containerd's hosts.toml and docker's daemon.json.
 */
import { parseReference, type Reference } from '../oci/reference.ts';

export interface ClientCertificate {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

/** A place that serves images of another registry. */
export interface MirrorRule {
  /** `host[:port]`, lower-case. */
  readonly authority: string;
  /** Goes before repositories there; '' for none. */
  readonly path: string;
  readonly scheme?: 'http' | 'https';
  readonly isInsecure?: boolean;
  /** Root of the API instead of `/v2`. */
  readonly apiPath?: string;
  /** What it is asked for: everything, what has a digest, or what has only a tag. */
  readonly pulls: 'all' | 'digest-only' | 'tag-only';
  /** Whether it is told which registry is meant (`?ns=`). */
  readonly sendsNamespace: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly authorities?: readonly string[];
  readonly clientCertificate?: ClientCertificate;
}

export interface RegistryRule {
  /** The file, for messages. */
  readonly origin: string;
  /** `docker.io`, `docker.io/library`, `*.example.com`; '*' is every registry. */
  readonly prefix: string;
  readonly mirrors: readonly MirrorRule[];
  /** Where the registry really is, instead of where its name says. */
  readonly location?: MirrorRule;
  readonly isInsecure?: boolean;
  readonly isBlocked?: boolean;
  /** false: nothing but the mirrors is asked. */
  readonly fallsBack?: boolean;
  /** Bytes of a piece of an upload. */
  readonly chunkSize?: number;
  readonly authorities?: readonly string[];
  readonly clientCertificate?: ClientCertificate;
}

/** How much of a reference's name a prefix covers; undefined where it does not fit. */
export function matchLength(prefix: string, { registry, repository }: Reference): number | undefined {
  if (prefix === '*') return 0;
  const name = `${registry}/${repository}`;
  if (prefix.startsWith('*.')) return registry.endsWith(prefix.slice(1)) ? prefix.length - 1 : undefined;
  if (prefix === registry || prefix === name || name.startsWith(`${prefix}/`)) return prefix.length;
  return undefined;
}

/** The most specific rule of each origin, in the order of the origins. */
export function rulesFor(rules: readonly RegistryRule[], reference: Reference): readonly RegistryRule[] {
  const best = new Map<string, { readonly rule: RegistryRule; readonly length: number }>();
  for (const rule of rules) {
    const length = matchLength(rule.prefix, reference);
    if (length === undefined || length <= (best.get(rule.origin)?.length ?? -1)) continue;
    best.set(rule.origin, { rule, length });
  }
  return [...best.values()].map(({ rule }) => rule);
}

/** The repository's name behind a prefix's location: `docker.io/library/x` by `docker.io` is `library/x`. */
export function repositoryBehind(prefix: string, { registry, repository }: Reference): string {
  const rest = prefix.startsWith(`${registry}/`) ? prefix.slice(registry.length + 1) : '';
  return rest === '' ? repository : repository.slice(rest.length).replace(/^\//, '');
}

export function joinPath(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('/');
}

/** `docker.io=HOST/path` or `HOST/path` (for docker.io), with an optional scheme: a mirror from the command line. */
export function parseMirrorFlag(text: string): RegistryRule | undefined {
  const equals = text.indexOf('=');
  const prefix = equals < 0 ? 'docker.io' : text.slice(0, equals);
  const mirror = parseLocation(equals < 0 ? text : text.slice(equals + 1));
  if (mirror === undefined || !isPrefix(prefix)) return undefined;
  return { origin: '--registry-mirror', prefix, mirrors: [mirror] };
}

/** `[scheme://]host[:port][/path]`. */
export function parseLocation(text: string): MirrorRule | undefined {
  const match = /^(?:(https?):\/\/)?([A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?)(\/.*)?$/.exec(text);
  if (match === null) return undefined;
  const [, scheme, authority = '', path = ''] = match;
  return {
    authority: authority.toLowerCase(),
    path: path.replace(/^\/+|\/+$/g, ''),
    ...(scheme === 'http' || scheme === 'https' ? { scheme } : {}),
    pulls: 'all',
    sendsNamespace: true,
  };
}

export function isPrefix(text: string): boolean {
  if (text === '*' || /^\*\.[a-z0-9.-]+$/.test(text)) return true;
  try {
    parseReference(text.includes('/') ? text : `${text}/x`);
    return true;
  } catch {
    return false;
  }
}

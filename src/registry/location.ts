/**
 * Where a `Location` leads. Its bytes are kept: URL parsing would encode a signed query anew, and break it.
 *
 * A registry may not send us into a private network that it does not belong to itself; and a registry behind a proxy
 * that ends TLS often believes that it is reached by http, or without a port.
 */
import { hostnameOf, isLocalHost } from './address.ts';
import { protocolError, type Asked } from './registry-error.ts';

/** `base` is the URL that was really asked, after redirects. Throws REGISTRY_PROTOCOL. */
export function resolveLocation(location: string, base: string, asked: Asked): string {
  const sent = new URL(base);
  const absolute = absoluteOf(location, sent);
  let parsed: URL;
  try {
    parsed = new URL(absolute);
  } catch {
    throw protocolError(asked, 'the registry names a Location that is no URL');
  }
  if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:')
    throw protocolError(asked, `the registry names a Location by ${JSON.stringify(parsed.protocol)}`);
  if (parsed.hostname === sent.hostname)
    return isSamePlace(parsed, sent) ? replaceOrigin(absolute, sent) : absolute;
  if (isLocalHost(hostnameOf(parsed.host)) && !isLocalHost(hostnameOf(sent.host)))
    throw protocolError(
      asked,
      `the registry sends us to ${JSON.stringify(parsed.host)}, an address of a private network`,
      'if it is right, reach the registry by an address of that network, or by a name for the storage',
    );
  return absolute;
}

function absoluteOf(location: string, sent: URL): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(location)) return location;
  if (location.startsWith('//')) return `${sent.protocol}${location}`;
  if (location.startsWith('/')) return `${sent.origin}${location}`;
  if (location.startsWith('?')) return `${sent.origin}${sent.pathname}${location}`;
  return `${sent.origin}${sent.pathname.replace(/[^/]*$/, '')}${location}`;
}

/** The same host, but by http, or without the port that it was reached by. Another port is another server. */
function isSamePlace(named: URL, sent: URL): boolean {
  const hasNoOtherPort = named.port === '' || named.port === sent.port;
  const isDowngraded = sent.protocol === 'https:' && named.protocol === 'http:';
  const lostPort = sent.port !== '' && named.port === '' && named.protocol === sent.protocol;
  return hasNoOtherPort && (isDowngraded || lostPort);
}

/** An address that a document names: http(s), and no private network unless the registry lies there, too. */
export function checkForeignUrl(url: string, authority: string, asked: Asked): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isWeb = parsed?.protocol === 'https:' || parsed?.protocol === 'http:';
  if (parsed === undefined || !isWeb)
    throw protocolError(asked, 'a layer names an address that is none of the web');
  if (isLocalHost(hostnameOf(parsed.host)) && !isLocalHost(hostnameOf(authority)))
    throw protocolError(
      asked,
      `a layer lies at ${JSON.stringify(parsed.host)}, an address of a private network`,
    );
  return url;
}

function replaceOrigin(absolute: string, sent: URL): string {
  return `${sent.origin}${absolute.replace(/^[a-z]+:\/\/[^/?#]*/i, '')}`;
}

export function withParameter(location: string, name: string, value: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}${name}=${encodeURIComponent(value)}`;
}

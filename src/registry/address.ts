/** Hosts as text: names, ports, IP literals, and which of them lie on this machine or in a private network. */
import { BlockList, isIP } from 'node:net';

/** The name or address of `host[:port]`, lower-case, without brackets. */
export function hostnameOf(authority: string): string {
  return authority
    .toLowerCase()
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1');
}

export function portOf(authority: string): string | undefined {
  return /:(\d+)$/.exec(authority.replace(/^\[.*\]/, ''))?.[1];
}

/** `host` and `host:443` (for http `host:80`) are one place. */
export function withoutDefaultPort(authority: string, scheme: 'http' | 'https' = 'https'): string {
  const usual = scheme === 'https' ? '443' : '80';
  return portOf(authority) === usual ? authority.slice(0, -usual.length - 1) : authority;
}

export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    /^127(\.\d{1,3}){3}$/.test(hostname) ||
    hostname === '::1'
  );
}

const PRIVATE = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const)
  PRIVATE.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  PRIVATE.addSubnet(network, prefix, 'ipv6');

/** An address that is not of the public internet, or a name of this machine. Other names are not looked up. */
export function isLocalHost(hostname: string): boolean {
  const family = isIP(hostname);
  if (family === 0) return isLoopback(hostname);
  return PRIVATE.check(hostname, family === 4 ? 'ipv4' : 'ipv6');
}

/** Whether an address lies in `network/prefix`; false for names and for what is no range. */
export function isInRange(hostname: string, range: string): boolean {
  const [network = '', prefix = ''] = range.split('/');
  const family = isIP(hostname);
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(prefix)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (Number(prefix) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(prefix), type);
  return list.check(hostname, type);
}

/** Whether a host was named as insecure, or lies in a range that was. */
export function isListed(authority: string, insecure: readonly string[]): boolean {
  const hostname = hostnameOf(authority);
  const wanted = authority.toLowerCase();
  return insecure.some(
    (each) =>
      each.toLowerCase() === wanted ||
      each.toLowerCase() === withoutDefaultPort(wanted) ||
      isInRange(hostname, each),
  );
}

/** Whether a host may be spoken to without TLS: it was named as insecure, or it is this machine. */
export function mayBePlain(authority: string, insecure: readonly string[]): boolean {
  return isLoopback(hostnameOf(authority)) || isListed(authority, insecure);
}

/** NO_PROXY of Go and curl: whether a URL is reached directly. Loopback always is. */
export function isProxyException(url: URL, exceptions: string): boolean {
  const hostname = hostnameOf(url.host);
  if (isLoopback(hostname)) return true;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return exceptions
    .split(/[\s,]+/)
    .filter((each) => each !== '')
    .some((each) => {
      if (each === '*') return true;
      if (each.includes('/')) return isInRange(hostname, each);
      const wanted = isIP(each) === 6 ? undefined : portOf(each);
      if (wanted !== undefined && wanted !== port) return false;
      const name = (isIP(each) === 6 ? each : hostnameOf(each)).toLowerCase().replace(/^\*?\./, '');
      return hostname === name || (isIP(name) === 0 && hostname.endsWith(`.${name}`));
    });
}

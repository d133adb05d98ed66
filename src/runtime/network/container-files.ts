/** /etc/hosts and /etc/resolv.conf of a container on networks, and what its name service shall do. */
import { TsbuildError } from '../../base/errors.ts';
import { isLoopback, tryParseAddress } from './address.ts';
import type { DnsOptions, Endpoint } from './contract.ts';

/** Where the name service listens in every container, as docker has it. */
export const NAME_SERVER = '127.0.0.11';
/** Its port: 53 leads here, so that a name server of the container's own can have 53. */
export const NAME_SERVER_PORT = 41053;
/** MAXNS of resolv.conf(5). */
const MAX_SERVERS = 3;
/** When the host names none that can be reached. */
const PUBLIC_SERVERS = ['8.8.8.8', '8.8.4.4'];

export interface HostsInput {
  readonly hostname: string;
  readonly domainname?: string;
  readonly endpoints: readonly Endpoint[];
  readonly extraHosts: readonly string[];
}

/** Throws USAGE for an extra host that is none. */
export function hostsFile({ hostname, domainname, endpoints, extraHosts }: HostsInput): string {
  const names =
    domainname === undefined || domainname === '' ? hostname : `${hostname}.${domainname} ${hostname}`;
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...endpoints
      .flatMap(({ ip, ip6 }) => [ip, ip6])
      .flatMap((ip) => (ip === undefined ? [] : `${ip}\t${names}`)),
    ...extraHosts.map((entry) => extraHostLine(entry, endpoints)),
  ];
  return `${lines.join('\n')}\n`;
}

function extraHostLine(entry: string, endpoints: readonly Endpoint[]): string {
  const at = entry.search(/[:=]/);
  const name = entry.slice(0, Math.max(0, at));
  const text = entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  const ip = text === 'host-gateway' ? hostGateway(endpoints) : text;
  if (!/^[^\s#]+$/.test(name) || ip === undefined || tryParseAddress(ip) === undefined)
    throw new TsbuildError('USAGE', `invalid extra host ${JSON.stringify(entry)}`, {
      hint: 'write NAME:IP, or NAME:host-gateway',
    });
  return `${ip}\t${name}`;
}

function hostGateway(endpoints: readonly Endpoint[]): string | undefined {
  const reaching = endpoints.filter(({ driver }) => driver === 'bridge' || driver === 'vxlan');
  return reaching.find(({ gateway }) => gateway !== undefined)?.gateway ?? reaching[0]?.gateway6;
}

export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** resolv.conf(5): the last search (or domain) line counts, options add up. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  const options: string[] = [];
  let search: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && rest[0] !== undefined && isServer(rest[0])) servers.push(rest[0]);
    if (word === 'search' || word === 'domain') search = rest;
    if (word === 'options') options.push(...rest);
  }
  return { servers, search, options };
}

/** With a zone (`fe80::1%eth0`) it means nothing elsewhere. */
function isServer(text: string): boolean {
  return tryParseAddress(text) !== undefined;
}

/** Where systemd-resolved names the servers behind its stub on 127.0.0.53. */
export const RESOLVED_FILE = '/run/systemd/resolve/resolv.conf';

/** The host's file, or what stands behind it where it names nobody but systemd-resolved's stub. */
export function beyondStub(text: string, readFile: (path: string) => string | undefined): string {
  const { servers } = parseResolvConf(text);
  if (servers.length === 0 || !servers.every((server) => server === '127.0.0.53')) return text;
  return readFile(RESOLVED_FILE) ?? text;
}

export interface NameServicePlan {
  readonly resolvConf: string;
  /** Whether resolv.conf leads to the name service. */
  readonly isServed: boolean;
  /** Whom the name service asks, from the host's network. */
  readonly upstream: readonly string[];
}

/**
 * On networks with names (`named`) the name service answers. On the default network a container asks the host's
 * servers itself, unless they listen on the host's loopback, where it cannot come.
 */
export function planNames(hostText: string, dns: DnsOptions, named: boolean): NameServicePlan {
  const host = parseResolvConf(hostText);
  const asked = dns.servers.length > 0 ? dns.servers : host.servers;
  const upstream = asked.length > 0 ? asked : PUBLIC_SERVERS;
  const isServed = named || upstream.some(isOnLoopback);
  // docker: `--dns-search .` means none at all.
  const search = (dns.search.length > 0 ? dns.search : host.search).filter((domain) => domain !== '.');
  const options = dns.options.length > 0 ? dns.options : host.options;
  const lines = [
    ...(isServed ? [NAME_SERVER] : upstream.slice(0, MAX_SERVERS)).map((server) => `nameserver ${server}`),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    ...optionLine(
      isServed ? [...options.filter((option) => !option.startsWith('ndots:')), ...ndots(options)] : options,
    ),
  ];
  return { resolvConf: `${lines.join('\n')}\n`, isServed, upstream: upstream.slice(0, MAX_SERVERS) };
}

/** Names of containers have no dots: they are asked for as they are. docker says ndots:0. */
function ndots(options: readonly string[]): readonly string[] {
  return [options.findLast((option) => option.startsWith('ndots:')) ?? 'ndots:0'];
}

function optionLine(options: readonly string[]): readonly string[] {
  return options.length === 0 ? [] : [`options ${options.join(' ')}`];
}

function isOnLoopback(server: string): boolean {
  const address = tryParseAddress(server);
  return address !== undefined && isLoopback(address);
}

/** What native/launch/dns.c reads: directories of leases, servers to ask. */
export function nameServiceConfig(
  networks: readonly { readonly name: string; readonly leases: string }[],
  upstream: readonly string[],
): string {
  return [
    ...networks.map(({ name, leases }) => `leases ${name} ${leases}`),
    ...upstream.map((server) => `upstream ${server}`),
    '',
  ].join('\n');
}

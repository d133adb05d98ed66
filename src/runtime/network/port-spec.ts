/**
 * `-p [ip:][hostPort[-end]:]containerPort[-end][/protocol]` and EXPOSE, as docker reads them
 * (docker/go-connections, nat.ParsePortSpec).
 */
import { isIP } from 'node:net';
import { TsbuildError } from '../../base/errors.ts';
import type { PortRequest, Protocol } from './contract.ts';

interface PortRange {
  readonly first: number;
  readonly last: number;
}

const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp', 'sctp'];

/** One request per container port. Throws USAGE. */
export function parsePortSpec(text: string): readonly PortRequest[] {
  const slash = text.lastIndexOf('/');
  const protocol = protocolOf(slash < 0 ? 'tcp' : text.slice(slash + 1), text);
  const { ip, host, container } = splitSpec(slash < 0 ? text : text.slice(0, slash), text);
  const inside = rangeOf(container, text, 1);
  const outside = host === '' ? undefined : rangeOf(host, text, 0);
  const count = inside.last - inside.first;
  // Several host ports for one container port: any of them. Otherwise the ranges go side by side.
  if (outside !== undefined && count > 0 && outside.last - outside.first !== count)
    throw invalid(text, 'the ranges are not of the same length');
  return Array.from({ length: count + 1 }, (_, index) => ({
    ...(ip === '' ? {} : { hostIp: ip }),
    ...hostPorts(outside, count, index),
    containerPort: inside.first + index,
    protocol,
  }));
}

/** `80`, `80/udp`, `8000-8010/tcp` of EXPOSE and --expose: container ports alone. Throws USAGE. */
export function parseExposed(text: string): readonly PortRequest[] {
  if (text.includes(':')) throw invalid(text, 'a host port has no place here');
  return parsePortSpec(text);
}

/** -P: one request for each exposed port that -p has not published already. */
export function publishAll(
  exposed: readonly PortRequest[],
  published: readonly PortRequest[],
): readonly PortRequest[] {
  const key = ({ containerPort, protocol }: PortRequest): string => `${containerPort}/${protocol}`;
  const known = new Set(published.map(key));
  return [...published, ...exposed.filter((port) => !known.has(key(port)))];
}

function hostPorts(
  outside: PortRange | undefined,
  count: number,
  index: number,
): { readonly hostPorts?: PortRange } {
  if (outside === undefined || outside.first === 0) return {};
  if (count === 0) return { hostPorts: outside };
  return { hostPorts: { first: outside.first + index, last: outside.first + index } };
}

function splitSpec(spec: string, text: string): { ip: string; host: string; container: string } {
  const bracket = /^\[([^\]]*)\]:(.*)$/.exec(spec);
  if (bracket !== null) {
    const [, ip = '', rest = ''] = bracket;
    if (isIP(ip) !== 6) throw invalid(text, `${JSON.stringify(ip)} is no IPv6 address`);
    return { ip, ...splitPorts(rest, text) };
  }
  const parts = spec.split(':');
  if (parts.length <= 2) return { ip: '', ...splitPorts(spec, text) };
  const ip = parts.slice(0, -2).join(':');
  if (isIP(ip) === 0) throw invalid(text, `${JSON.stringify(ip)} is no IP address`);
  return { ip, ...splitPorts(parts.slice(-2).join(':'), text) };
}

function splitPorts(text: string, whole: string): { host: string; container: string } {
  const parts = text.split(':');
  if (parts.length > 2) throw invalid(whole, 'it has too many colons');
  const container = parts.at(-1) ?? '';
  if (container === '') throw invalid(whole, 'no container port is named');
  return { host: parts.length === 2 ? (parts[0] ?? '') : '', container };
}

function rangeOf(text: string, whole: string, minimum: number): PortRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first < minimum || last > 65535 || last < first)
    throw invalid(whole, `${JSON.stringify(text)} is no port or range of ports`);
  return { first, last };
}

function protocolOf(text: string, whole: string): Protocol {
  const found = PROTOCOLS.find((each) => each === text.toLowerCase());
  if (found === undefined) throw invalid(whole, `${JSON.stringify(text)} is no protocol`);
  return found;
}

function invalid(text: string, reason: string): TsbuildError {
  return new TsbuildError('USAGE', `invalid port ${JSON.stringify(text)}: ${reason}`, {
    hint: 'write [IP:][HOST_PORT:]CONTAINER_PORT[/tcp|udp], e.g. 127.0.0.1:8080:80',
  });
}

/** Reading of `--network`, which may be given several times, each with options: `NAME[,alias=…][,ip=…]`. */
import { isIP } from 'node:net';
import { TsbuildError } from '../../base/errors.ts';
import type { EndpointRequest, NetworkChoice } from './contract.ts';

export const DEFAULT_NETWORK = 'bridge';

/** Flags that are about the first network where it is named without options. */
export interface EndpointFlags {
  readonly aliases: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
  readonly mac?: string;
}

/** Throws USAGE. No value at all means the default network. */
export function parseNetworkChoice(values: readonly string[], flags: EndpointFlags): NetworkChoice {
  const [only = DEFAULT_NETWORK] = values;
  const special = specialChoice(only);
  if (special !== undefined) {
    if (values.length > 1) throw usage(`cannot combine --network ${only} with other networks`);
    rejectEndpointFlags(only, flags);
    return special;
  }
  const endpoints = (values.length === 0 ? [DEFAULT_NETWORK] : values).map((value, index) =>
    withFlags(parseEndpoint(value), index === 0 ? flags : { aliases: [] }),
  );
  for (const { network } of endpoints) {
    if (specialChoice(network) !== undefined)
      throw usage(`cannot combine --network ${network} with other networks`);
    if (endpoints.filter((each) => each.network === network).length > 1)
      throw usage(`--network ${network} was given twice`);
  }
  return { kind: 'networks', endpoints };
}

function specialChoice(value: string): NetworkChoice | undefined {
  if (value === 'host' || value === 'none') return { kind: value };
  if (!value.startsWith('container:')) return undefined;
  const container = value.slice('container:'.length);
  if (container === '') throw usage('--network container: names no container');
  return { kind: 'container', container };
}

function rejectEndpointFlags(value: string, { aliases, ip, ip6, mac }: EndpointFlags): void {
  if (aliases.length > 0 || ip !== undefined || ip6 !== undefined)
    throw usage(`addresses and aliases have no meaning with --network ${value}`);
  if (mac !== undefined) throw usage(`--mac-address has no meaning with --network ${value}`);
}

function parseEndpoint(value: string): EndpointRequest {
  // `name=NET,alias=a` is docker's long form; `NET:ip=…,alias=…` is podman's.
  const podman = /^([A-Za-z0-9][A-Za-z0-9_.-]*):(.+)$/.exec(value);
  const [first = '', ...rest] =
    podman === null ? value.split(',') : [podman[1] ?? '', ...(podman[2] ?? '').split(',')];
  const network = first.startsWith('name=') ? first.slice('name='.length) : first;
  if (network === '' || network.includes('=')) throw usage(`invalid --network ${JSON.stringify(value)}`);
  return rest.reduce<EndpointRequest>(addOption, { network, aliases: [] });
}

function addOption(endpoint: EndpointRequest, option: string): EndpointRequest {
  const at = option.indexOf('=');
  const value = option.slice(at + 1);
  switch (option.slice(0, Math.max(at, 0))) {
    case 'alias':
      return { ...endpoint, aliases: [...endpoint.aliases, ...checkedAliases([value])] };
    case 'ip':
      return isIP(value) === 6 ? { ...endpoint, ip6: value } : { ...endpoint, ip: checkedIp(value, 4) };
    case 'ip6':
      return { ...endpoint, ip6: checkedIp(value, 6) };
    case 'mac':
    case 'mac-address':
      return { ...endpoint, mac: checkedMac(value) };
    default:
      throw usage(`unknown option ${JSON.stringify(option)} of --network`);
  }
}

function withFlags(endpoint: EndpointRequest, flags: EndpointFlags): EndpointRequest {
  return {
    ...endpoint,
    aliases: [...endpoint.aliases, ...checkedAliases(flags.aliases)],
    ...(flags.ip === undefined ? {} : { ip: checkedIp(flags.ip, 4) }),
    ...(flags.ip6 === undefined ? {} : { ip6: checkedIp(flags.ip6, 6) }),
    ...(flags.mac === undefined ? {} : { mac: checkedMac(flags.mac) }),
  };
}

function checkedAliases(aliases: readonly string[]): readonly string[] {
  for (const alias of aliases)
    if (!/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/.test(alias))
      throw usage(`invalid network alias ${JSON.stringify(alias)}`);
  return aliases;
}

function checkedIp(text: string, family: 4 | 6): string {
  if (isIP(text) !== family) throw usage(`${JSON.stringify(text)} is no IPv${family} address`);
  return text;
}

function checkedMac(text: string): string {
  const mac = text.toLowerCase().replaceAll('-', ':');
  if (!/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1)
    throw usage(`${JSON.stringify(text)} is no MAC address of an interface`);
  return mac;
}

function usage(message: string): TsbuildError {
  return new TsbuildError('USAGE', message);
}

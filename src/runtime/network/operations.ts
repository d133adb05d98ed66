/** What networks, endpoints and ports are as operations of the launcher. Pure. */
import { NETLINK, type NetOp, type Side } from '../../../native/net-plan.ts';
import { bytesOf, cidrOf, parseAddress, parseCidr, tryParseAddress, type Cidr } from './address.ts';
import { NAME_SERVER, NAME_SERVER_PORT } from './container-files.ts';
import type { Endpoint, Network, PortForward } from './contract.ts';
import { macBytes, macFor, vxlanName } from './interface-names.ts';
import { baseTable, TABLE } from './nft/base-table.ts';
import { networkElements, portElements, type NetworkRules } from './nft/elements.ts';
import { compare, destinationNatTo, isFamily, meta, payload } from './nft/expressions.ts';
import { batch, dumpChains, newChain, newRule, newTable, type NftMessage } from './nft/messages.ts';
import { ipvlanMode, macvlanMode, vxlanOptions } from './driver-options.ts';

function send(messages: readonly NftMessage[], side: Side = 'host'): NetOp {
  return { op: 'send', side, protocol: NETLINK.netfilter, messages: batch(messages) };
}

/** Asks for all chains of the host, ours and others'. */
export const CHAINS_OP: NetOp = {
  ...{ op: 'dump', side: 'host', protocol: NETLINK.netfilter },
  messages: dumpChains(),
};

export function baseTableOps(): readonly NetOp[] {
  return [send(baseTable())];
}

/** Adding what is there already changes nothing; taking away what is not there fails with ENOENT. */
export function ruleOps(
  change: 'add' | 'remove',
  network: NetworkRules | undefined,
  ports: readonly PortForward[],
): readonly NetOp[] {
  const kind = change === 'add' ? 'newElement' : 'delElement';
  const messages = [
    ...(network === undefined ? [] : networkElements(kind, network)),
    ...portElements(kind, ports),
  ];
  return messages.length === 0 ? [] : [send(messages)];
}

/** As many transactions as elements: what is gone already does not keep the rest. */
export function patientRemovalOps(
  network: NetworkRules | undefined,
  ports: readonly PortForward[],
): readonly NetOp[] {
  const messages = [
    ...(network === undefined ? [] : networkElements('delElement', network)),
    ...ports.flatMap((port) => portElements('delElement', [port])),
  ];
  return messages.map((each) => ({ ...send([each]), tolerate: 'ENOENT' }) as const);
}

export function rulesOf(network: Network): NetworkRules {
  return {
    interface: network.interface,
    subnets: network.subnets.map(({ subnet }) => subnet),
    internal: network.internal,
    masquerade: !network.internal && network.options['masquerade'] !== 'false',
  };
}

/** Whether a network has a bridge of its own on this host. */
export function isBridged({ driver }: Pick<Network, 'driver'>): boolean {
  return driver === 'bridge' || driver === 'vxlan';
}

/** The host's side of a bridged network; what is there already stays. */
export function bridgeOps(network: Network, root: string, mtu: number): readonly NetOp[] {
  const { interface: name, subnets } = network;
  const has6 = subnets.some(({ subnet }) => parseCidr(subnet).family === 6);
  const alias = `tsbuild network ${network.name} of ${root}`.slice(0, 255);
  return [
    { op: 'bridge', name, mac: macBytes(macFor(undefined, name)), mtu, alias, tolerate: 'EEXIST' },
    // why no duplicate address detection: a router asks for nobody while its own link-local address is tentative.
    has6
      ? sysctl('host', `ipv6/conf/${name}/accept_dad`, '0')
      : sysctl('host', `ipv6/conf/${name}/disable_ipv6`, '1'),
    // A published port of the host's own 127.0.0.1 leads through the bridge; the rules keep the way back shut.
    sysctl('host', `ipv4/conf/${name}/route_localnet`, '1'),
    ...subnets.flatMap(({ subnet, gateway }) =>
      gateway === undefined ? [] : [addressOp('host', name, gateway, parseCidr(subnet).prefix)],
    ),
    { op: 'up', side: 'host', name },
    ...(network.driver === 'vxlan' ? vxlanOps(network, root, mtu, alias) : []),
  ];
}

function vxlanOps(network: Network, root: string, mtu: number, alias: string): readonly NetOp[] {
  const { vni, port, device, local, group, remotes } = vxlanOptions(network.options);
  const name = vxlanName(root, network.id);
  const some = local ?? group ?? remotes[0];
  const family = some?.family ?? 4;
  return [
    {
      op: 'vxlan',
      name,
      bridge: network.interface,
      device: device ?? '',
      alias,
      vni,
      port,
      mtu,
      family,
      ...(local === undefined ? {} : { local: bytesOf(local) }),
      ...(group === undefined ? {} : { group: bytesOf(group) }),
      tolerate: 'EEXIST',
    },
    ...remotes.map((remote) => ({ op: 'forward', name, family, address: bytesOf(remote) }) as const),
  ];
}

/** Takes a network's interfaces away. */
export function unbridgeOps(bridge: string, vxlan: string | undefined): readonly NetOp[] {
  return [
    ...(vxlan === undefined
      ? []
      : [{ op: 'deleteLink', side: 'host', name: vxlan, tolerate: 'ENODEV' } as const]),
    { op: 'deleteLink', side: 'host', name: bridge, tolerate: 'ENODEV' },
  ];
}

/** A new namespace with its loopback; an empty path: unpinned. */
export function namespaceOps(path: string): readonly NetOp[] {
  return [
    { op: 'createNamespace', path },
    { op: 'up', side: 'inside', name: 'lo' },
    // As docker: in a namespace of its own, ports and echo requests are no privilege.
    sysctl('inside', 'ipv4/ip_unprivileged_port_start', '0'),
    sysctl('inside', 'ipv4/ping_group_range', '0 2147483647'),
  ];
}

export interface PortOptions {
  readonly mtu: number;
  readonly isolated: boolean;
  readonly hairpin: boolean;
}

/** An interface in the namespace that was made or opened before. */
export function endpointOps(network: Network, endpoint: Endpoint, options: PortOptions): readonly NetOp[] {
  const { interface: inside, ip, prefix, ip6, prefix6 } = endpoint;
  return [
    linkOp(network, endpoint, options),
    ...(ip6 === undefined
      ? [sysctl('inside', `ipv6/conf/${inside}/disable_ipv6`, '1')]
      : ['accept_ra', 'accept_dad'].map((key) => sysctl('inside', `ipv6/conf/${inside}/${key}`, '0'))),
    ...(ip === undefined || prefix === undefined ? [] : [addressOp('inside', inside, ip, prefix)]),
    ...(ip6 === undefined || prefix6 === undefined ? [] : [addressOp('inside', inside, ip6, prefix6)]),
    { op: 'up', side: 'inside', name: inside },
  ];
}

function linkOp(
  network: Network,
  { interface: inside, hostInterface, mac }: Endpoint,
  { mtu, isolated, hairpin }: PortOptions,
): NetOp {
  const common = { inside, mac: macBytes(mac), mtu };
  if (network.driver === 'macvlan' || network.driver === 'ipvlan')
    return {
      op: 'slave',
      kind: network.driver,
      mode: network.driver === 'macvlan' ? macvlanMode(network.options) : ipvlanMode(network.options),
      parent: network.interface,
      ...common,
      // The parent's.
      mtu: 0,
    };
  return {
    op: 'veth',
    outside: hostInterface ?? '',
    bridge: network.interface,
    isolated,
    hairpin,
    ...common,
  };
}

/** The ways out: the first endpoint that has one, of each family. */
export function defaultRouteOps(endpoints: readonly Endpoint[]): readonly NetOp[] {
  const first4 = endpoints.find(({ gateway }) => gateway !== undefined);
  const first6 = endpoints.find(({ gateway6 }) => gateway6 !== undefined);
  return [
    ...(first4?.gateway === undefined ? [] : [defaultRoute(first4.interface, first4.gateway)]),
    ...(first6?.gateway6 === undefined ? [] : [defaultRoute(first6.interface, first6.gateway6)]),
  ];
}

function defaultRoute(name: string, gateway: string): NetOp {
  const address = parseAddress(gateway);
  const everything: Cidr = cidrOf(address, 0);
  return {
    op: 'route',
    side: 'inside',
    name,
    destination: prefixOf(everything),
    gateway: bytesOf(address),
    tolerate: 'EEXIST',
  };
}

/** Inside: port 53 of the name service's address leads to the port that it has. */
export function nameServiceOps(): readonly NetOp[] {
  const address = tryParseAddress(NAME_SERVER);
  if (address === undefined) return [];
  const redirect = (protocol: number): NftMessage =>
    newRule(TABLE, 'output', [
      ...isFamily(4),
      payload('network', 16, 4),
      compare(bytesOf(address)),
      meta('l4proto'),
      compare(Uint8Array.of(protocol)),
      payload('transport', 2, 2),
      compare(Uint8Array.of(0, 53)),
      ...destinationNatTo(bytesOf(address), NAME_SERVER_PORT),
    ]);
  return [
    send(
      [
        newTable(TABLE),
        newChain(TABLE, { name: 'output', type: 'nat', hook: 'output', priority: -100 }),
        redirect(17),
        redirect(6),
      ],
      'inside',
    ),
  ];
}

function addressOp(side: Side, name: string, text: string, prefix: number): NetOp {
  const address = parseAddress(text);
  return { op: 'address', side, name, address: prefixOf({ ...address, prefix }), tolerate: 'EEXIST' };
}

function prefixOf(cidr: Cidr): { family: 4 | 6; address: Uint8Array; prefix: number } {
  return { family: cidr.family, address: bytesOf(cidr), prefix: cidr.prefix };
}

/** A kernel without that protocol has not the file. */
export function sysctl(side: Side, key: string, value: string): NetOp {
  return { op: 'sysctl', side, key, value, tolerate: 'ENOENT' };
}

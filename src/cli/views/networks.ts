/** Networks as lists and templates show them. Columns: docker/cli, formatter/network.go. */
import type { AttachedEndpoint, Network } from '../../runtime/network/contract.ts';
import type { ListView } from '../format/rows.ts';
import { mapOf, type Struct, type Value } from '../format/values.ts';
import { goTime, labelText } from './words.ts';

export const NETWORK_LIST: ListView = {
  headings: {
    ID: 'NETWORK ID',
    Name: 'NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    IPv4: 'IPV4',
    IPv6: 'IPV6',
    Internal: 'INTERNAL',
    Labels: 'LABELS',
    CreatedAt: 'CREATED AT',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
  quiet: 'ID',
};

const SHORT_ID = 12;

/** A network that tsbuild keeps, or one of the two words that are none. */
export type ListedNetwork = Pick<Network, 'id' | 'name' | 'internal' | 'ipv6' | 'labels' | 'created'> & {
  readonly driver: string;
};

type InspectedNetwork = ListedNetwork & Pick<Network, 'subnets' | 'options' | 'interface'>;

export function networkRow(network: ListedNetwork, isWhole: boolean): Struct {
  const { id, name, driver, internal, ipv6, labels, created } = network;
  return {
    ID: isWhole ? id : id.slice(0, SHORT_ID),
    Name: name,
    Driver: driver,
    Scope: 'local',
    IPv4: 'true',
    IPv6: String(ipv6),
    Internal: String(internal),
    Labels: labelText(labels),
    Label: (label) => (typeof label === 'string' && Object.hasOwn(labels, label) ? labels[label] : ''),
    CreatedAt: goTime(created),
  };
}

/** `host` and `none` are words of --network, not networks; docker lists them. */
export function networkWords(created: string): readonly ListedNetwork[] {
  return (['host', 'none'] as const).map((name) => ({
    id: (name === 'host' ? '1' : '0').repeat(64),
    name,
    driver: name === 'host' ? 'host' : 'null',
    internal: false,
    ipv6: name === 'host',
    labels: {},
    created,
  }));
}

/** By name or id, as they are listed. */
export function inspectedNetworkWord(nameOrId: string): Value | undefined {
  const word = networkWords('').find(
    ({ id, name }) => nameOrId === name || (nameOrId.length >= SHORT_ID && id.startsWith(nameOrId)),
  );
  return word && inspectedNetwork({ ...word, subnets: [], options: {}, interface: '' }, []);
}

export function inspectedNetwork(network: InspectedNetwork, attached: readonly AttachedEndpoint[]): Value {
  const { id, name, driver, subnets, internal, ipv6, options, labels, created } = network;
  return {
    Name: name,
    Id: id,
    Created: created,
    Scope: 'local',
    Driver: driver,
    EnableIPv4: subnets.some(({ subnet }) => !subnet.includes(':')),
    EnableIPv6: ipv6,
    IPAM: {
      Driver: 'default',
      Options: mapOf({}),
      Config: subnets.map(({ subnet, gateway, ipRange }) => ({
        Subnet: subnet,
        ...(ipRange === undefined ? {} : { IPRange: ipRange }),
        ...(gateway === undefined ? {} : { Gateway: gateway }),
      })),
    },
    Internal: internal,
    Attachable: true,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Interface: network.interface,
    Containers: mapOf(Object.fromEntries(attached.map((each) => [each.containerId, containerValue(each)]))),
    Options: mapOf(options),
    Labels: mapOf(labels),
  };
}

function containerValue({ name, endpoint }: AttachedEndpoint): Value {
  const { mac, ip, prefix, ip6, prefix6 } = endpoint;
  const cidr = (address: string | undefined, length: number | undefined): string =>
    address === undefined || length === undefined ? '' : `${address}/${length}`;
  return {
    Name: name ?? '',
    EndpointID: '',
    MacAddress: mac,
    IPv4Address: cidr(ip, prefix),
    IPv6Address: cidr(ip6, prefix6),
  };
}

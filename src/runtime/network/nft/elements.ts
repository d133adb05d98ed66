/** What a network and a published port are in the sets of the base table. */
import { bytesOf, lastOf, parseAddress, parseCidr, type Cidr } from '../address.ts';
import type { PortForward, Protocol } from '../contract.ts';
import { SETS, TABLE } from './base-table.ts';
import { changeElements, type Element, type NftMessage } from './messages.ts';

export interface NetworkRules {
  /** The bridge. */
  readonly interface: string;
  /** Texts of prefixes. */
  readonly subnets: readonly string[];
  readonly internal: boolean;
  /** Hide the subnets behind the host. */
  readonly masquerade: boolean;
}

type Change = 'newElement' | 'delElement';
type SetName = keyof typeof SETS;
const PROTOCOL: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };
const NAME_SIZE = 16;

export function networkElements(change: Change, rules: NetworkRules): readonly NftMessage[] {
  const name = nameBytes(rules.interface);
  const cidrs = rules.subnets.map(parseCidr);
  const add = (set: SetName, elements: readonly Element[]): readonly NftMessage[] =>
    elements.length === 0 ? [] : [changeElements(change, TABLE, SETS[set].name, elements)];
  const of = (family: 4 | 6): readonly Cidr[] => cidrs.filter((cidr) => cidr.family === family);
  return [
    ...add('bridges', [{ key: [name] }]),
    ...add('same', [{ key: [name, name] }]),
    ...add('internal', rules.internal ? [{ key: [name] }] : []),
    ...add(
      'local4',
      of(4).map((cidr) => localElement(cidr, name)),
    ),
    ...add(
      'local6',
      of(6).map((cidr) => localElement(cidr, name)),
    ),
    ...add('masquerade4', rules.masquerade ? of(4).flatMap(intervalElements) : []),
    ...add('masquerade6', rules.masquerade ? of(6).flatMap(intervalElements) : []),
  ];
}

export function portElements(change: Change, ports: readonly PortForward[]): readonly NftMessage[] {
  const bySet = new Map<SetName, Element[]>();
  for (const port of ports) {
    const { set, element } = portElement(port);
    bySet.set(set, [...(bySet.get(set) ?? []), element]);
  }
  return [...bySet].map(([set, elements]) => changeElements(change, TABLE, SETS[set].name, elements));
}

function portElement(port: PortForward): { readonly set: SetName; readonly element: Element } {
  const { hostIp, hostPort, protocol, address, containerPort } = port;
  const host = parseAddress(hostIp);
  const key = [Buffer.of(PROTOCOL[protocol]), portBytes(hostPort)];
  const data = [bytesOf(parseAddress(address)), portBytes(containerPort)];
  if (host.value === 0n) return { set: `publishAll${host.family}`, element: { key, data } };
  return { set: `publish${host.family}`, element: { key: [bytesOf(host), ...key], data } };
}

function localElement(cidr: Cidr, name: Buffer): Element {
  return {
    key: [bytesOf(cidr), name],
    keyEnd: [bytesOf({ family: cidr.family, value: lastOf(cidr) }), name],
  };
}

/** Half open: the end is the first address after it. */
function intervalElements(cidr: Cidr): readonly Element[] {
  const end = { family: cidr.family, value: lastOf(cidr) + 1n };
  return [{ key: [bytesOf(cidr)] }, { key: [bytesOf(end)], isEnd: true }];
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

function nameBytes(name: string): Buffer {
  const bytes = Buffer.alloc(NAME_SIZE);
  bytes.write(name, 'utf8');
  return bytes;
}

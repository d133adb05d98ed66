/** What the host has already: routes and addresses that a new subnet must not cover, and the MTU of the way out. */
import { addressFromBytes, cidrOf, parseCidr, tryParseAddress, type Cidr } from './address.ts';
import { FLAG, message, readAttributes, readMessages } from './netlink.ts';
import { NETLINK, type NetOp } from '../../../native/net-plan.ts';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const IFLA_MTU = 4;
const ROUTE_HEAD = 12;
const LINK_HEAD = 16;
const FAMILY: Readonly<Record<number, 4 | 6>> = { 2: 4, 10: 6 };

export interface HostState {
  /** Blocks that the host routes somewhere, default routes left out. */
  readonly taken: readonly Cidr[];
  /** Bytes; of the interface with the default route, else 1500. */
  readonly mtu: number;
}

export const HOST_STATE_OPS: readonly NetOp[] = [
  dump(message(RTM_GETROUTE, FLAG.dump, Buffer.alloc(ROUTE_HEAD))),
  dump(message(RTM_GETLINK, FLAG.dump, Buffer.alloc(LINK_HEAD))),
];

function dump(messages: Buffer): NetOp {
  return { op: 'dump', side: 'host', protocol: NETLINK.route, messages };
}

/** Reads the answers of HOST_STATE_OPS; name servers count as taken, too. */
export function readHostState(
  routes: readonly Buffer[],
  links: readonly Buffer[],
  nameServers: readonly string[],
): HostState {
  const taken: Cidr[] = [];
  let way: number | undefined;
  for (const { type, body } of readMessages(routes)) {
    const family = FAMILY[body[0] ?? 0];
    if (type !== RTM_NEWROUTE || family === undefined) continue;
    const attributes = readAttributes(body.subarray(ROUTE_HEAD));
    const destination = addressFromBytes(attributes.get(RTA_DST) ?? Buffer.alloc(0));
    const prefix = body[1] ?? 0;
    if (destination !== undefined && prefix > 0) taken.push(cidrOf(destination, prefix));
    if (prefix === 0 && family === 4) way ??= attributes.get(RTA_OIF)?.readUInt32LE();
  }
  for (const server of nameServers) {
    const address = tryParseAddress(server);
    if (address !== undefined) taken.push(cidrOf(address, address.family === 4 ? 32 : 128));
  }
  return { taken: taken.filter(isSpecific), mtu: mtuOf(links, way) ?? 1500 };
}

/** Link-local and multicast routes are on every host. */
function isSpecific(cidr: Cidr): boolean {
  const general = ['ff00::/8', 'fe80::/10'].map(parseCidr);
  return !general.some(
    ({ family, value, prefix }) =>
      family === cidr.family && cidr.prefix >= prefix && cidrOf(cidr, prefix).value === value,
  );
}

function mtuOf(links: readonly Buffer[], index: number | undefined): number | undefined {
  for (const { type, body } of readMessages(links)) {
    if (type !== RTM_NEWLINK || body.readInt32LE(4) !== index) continue;
    return readAttributes(body.subarray(LINK_HEAD)).get(IFLA_MTU)?.readUInt32LE();
  }
  return undefined;
}

/** Choosing and checking the subnets of a network. */
import { TsbuildError } from '../../base/errors.ts';
import {
  bitsOf,
  cidrOf,
  containsAddress,
  formatAddress,
  formatCidr,
  lastOf,
  overlaps,
  parseAddress,
  parseCidr,
  type Address,
  type Cidr,
} from './address.ts';
import type { Subnet } from './contract.ts';
import { localPrefix6 } from './interface-names.ts';

/** Blocks that subnets are cut from, a /24 each, in this order. */
const POOLS = ['10.210.0.0/16', '172.28.0.0/14', '192.168.128.0/17'];
const SIZE = 24;

/** A free /24. `start` spreads the choices of different state roots. Throws NETWORK_FULL. */
export function chooseSubnet4(taken: readonly Cidr[], start: number): Subnet {
  for (const pool of POOLS.map(parseCidr)) {
    const count = 2 ** (SIZE - pool.prefix);
    for (let step = 0; step < count; step += 1) {
      const index = BigInt((start + step) % count);
      const cidr = cidrOf({ family: 4, value: pool.value + (index << BigInt(32 - SIZE)) }, SIZE);
      if (!taken.some((other) => overlaps(cidr, other))) return { subnet: formatCidr(cidr) };
    }
  }
  throw new TsbuildError('NETWORK_FULL', 'there is no free subnet left for one more network', {
    hint: 'name one with --subnet, or remove networks that nobody uses (tsbuild network prune)',
  });
}

export function chooseSubnet6(root: string, id: string): Subnet {
  return { subnet: localPrefix6(root, id) };
}

/** With a gateway: as asked, else the first address. Throws NETWORK_INVALID. */
export function completeSubnet({ subnet, gateway, ipRange }: Subnet): Subnet {
  const cidr = parseCidr(subnet);
  if (bitsOf(cidr.family) - cidr.prefix < 2)
    throw new TsbuildError('NETWORK_INVALID', `the subnet ${subnet} is too small for a network`);
  const range = ipRange === undefined ? undefined : parseRange(ipRange, cidr);
  const chosen =
    gateway === undefined
      ? { family: cidr.family, value: firstOf(range ?? cidr, cidr) }
      : parseAddress(gateway);
  if (!containsAddress(cidr, chosen))
    throw new TsbuildError('NETWORK_INVALID', `the gateway ${formatAddress(chosen)} is not in ${subnet}`);
  return {
    subnet: formatCidr(cidr),
    gateway: formatAddress(chosen),
    ...(range === undefined ? {} : { ipRange: formatCidr(range) }),
  };
}

function parseRange(text: string, subnet: Cidr): Cidr {
  const range = parseCidr(text);
  if (range.family !== subnet.family || range.value < subnet.value || lastOf(range) > lastOf(subnet))
    throw new TsbuildError('NETWORK_INVALID', `the range ${text} is not in ${formatCidr(subnet)}`);
  return range;
}

/** The network's own address is none for a host. */
function firstOf(range: Cidr, subnet: Cidr): bigint {
  return range.value === subnet.value ? range.value + 1n : range.value;
}

/** First and last address that may be given to a container. */
export function addressRange({ subnet, ipRange }: Subnet): { readonly first: bigint; readonly last: bigint } {
  const whole = parseCidr(subnet);
  const range = ipRange === undefined ? whole : parseCidr(ipRange);
  // IPv4 keeps its last address for broadcasts.
  const end = lastOf(whole) - (whole.family === 4 ? 1n : 0n);
  const last = lastOf(range);
  return { first: firstOf(range, whole), last: last < end ? last : end };
}

/** Throws NETWORK_EXISTS where a subnet covers what another network or the host has. */
export function rejectOverlap(
  subnet: Subnet,
  others: readonly { readonly what: string; readonly cidr: Cidr }[],
): void {
  const cidr = parseCidr(subnet.subnet);
  const other = others.find((each) => overlaps(each.cidr, cidr));
  if (other !== undefined)
    throw new TsbuildError(
      'NETWORK_EXISTS',
      `the subnet ${subnet.subnet} overlaps with ${formatCidr(other.cidr)} of ${other.what}`,
      { hint: 'choose another with --subnet' },
    );
}

/** Gateways and ranges beside the subnets that they belong to. Throws USAGE where one belongs to none. */
export function matchSubnets(
  subnets: readonly string[],
  gateways: readonly string[],
  ranges: readonly string[],
): readonly Subnet[] {
  const homeOf = (text: string, address: Address): string => {
    const home = subnets.find((subnet) => containsAddress(parseCidr(subnet), address));
    if (home === undefined)
      throw new TsbuildError('USAGE', `${JSON.stringify(text)} is in no subnet that was given`, {
        hint: 'name its subnet with --subnet',
      });
    return home;
  };
  const gatewayOf = new Map(gateways.map((text) => [homeOf(text, parseAddress(text)), text]));
  const rangeOf = new Map(ranges.map((text) => [homeOf(text, parseCidr(text)), text]));
  return subnets.map((subnet) => {
    const [gateway, ipRange] = [gatewayOf.get(subnet), rangeOf.get(subnet)];
    return {
      subnet,
      ...(gateway === undefined ? {} : { gateway }),
      ...(ipRange === undefined ? {} : { ipRange }),
    };
  });
}

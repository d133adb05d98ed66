/**
 * Addresses in use: one file per address, NETWORK/leases/<address>, made exclusively.
 *
 * Lines: the container's id, the owner of the attaching process, then the names that it answers to. The name
 * service (native/launch/dns.c) reads the same files. A lease whose container is attached to nothing, and whose
 * attaching process is gone, is nobody's.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, TsbuildError } from '../../base/errors.ts';
import { claimFile, readTextIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import type { Host } from '../../base/host.ts';
import { isOwnerAlive } from '../../base/owner.ts';
import {
  containsAddress,
  formatAddress,
  parseAddress,
  parseCidr,
  tryParseAddress,
  type Family,
} from './address.ts';
import type { Network, Subnet } from './contract.ts';
import { addressRange } from './subnets.ts';

export interface Lease {
  readonly address: string;
  readonly containerId: string;
  readonly owner: string;
  readonly names: readonly string[];
}

export interface LeaseRequest {
  readonly containerId: string;
  readonly names: readonly string[];
  readonly wanted?: string;
}

export interface LeaseStore {
  /** Throws ADDRESS_IN_USE, NETWORK_FULL, NETWORK_INVALID (not of that subnet). */
  take(network: Network, subnet: Subnet, request: LeaseRequest): string;
  /** The address of that very container, or nothing. */
  release(networkId: string, address: string, containerId: string): void;
  rename(networkId: string, address: string, names: readonly string[]): void;
  list(networkId: string): readonly Lease[];
  directory(networkId: string): string;
}

/** Addresses looked at before the list of all is asked again. */
const MAX_TRIES = 1 << 16;

export function createLeases(
  root: string,
  host: Host,
  isAttached: (containerId: string) => boolean,
): LeaseStore {
  const directory = (networkId: string): string => join(root, networkId, 'leases');
  const path = (networkId: string, address: string): string => join(directory(networkId), address);

  function read(networkId: string, address: string): Lease | undefined {
    const text = readTextIfExists(path(networkId, address));
    if (text === undefined) return undefined;
    const [containerId = '', owner = '', ...names] = text.split('\n');
    return { address, containerId, owner, names: names.filter((name) => name !== '') };
  }

  function isDead(networkId: string, address: string): boolean {
    const lease = read(networkId, address);
    if (lease === undefined) return false;
    return !isAttached(lease.containerId) && !isOwnerAlive(lease.owner);
  }

  function tryTake(networkId: string, address: string, request: LeaseRequest): boolean {
    const text = [request.containerId, host.unique(), ...request.names, ''].join('\n');
    const file = path(networkId, address);
    for (let attempt = 0; attempt < 2; attempt += 1)
      try {
        if (claimFile(host, file, text, 0o644)) return true;
        if (!isDead(networkId, address)) return false;
        rmSync(file, { force: true });
      } catch (error) {
        throw ioError('lease an address', error);
      }
    return false;
  }

  function takeWanted(
    network: Network,
    { subnet, gateway }: Subnet,
    request: LeaseRequest,
    text: string,
  ): string {
    const wanted = parseAddress(text);
    const cidr = parseCidr(subnet);
    if (!containsAddress(cidr, wanted))
      throw new TsbuildError(
        'NETWORK_INVALID',
        `the address ${text} is not in ${subnet} of network ${JSON.stringify(network.name)}`,
      );
    const address = formatAddress(wanted);
    const holder = address === gateway ? 'the gateway' : undefined;
    if (holder !== undefined || !tryTake(network.id, address, request))
      throw new TsbuildError(
        'ADDRESS_IN_USE',
        `the address ${address} of network ${JSON.stringify(network.name)} is used by ${holder ?? describe(read(network.id, address))}`,
      );
    return address;
  }

  function takeNext(network: Network, subnet: Subnet, request: LeaseRequest): string {
    const { first, last } = addressRange(subnet);
    const { family } = parseCidr(subnet.subnet);
    const cursor = join(root, network.id, `next${family}`);
    const count = last - first + 1n;
    const start = nextAfter(readTextIfExists(cursor), family, first, last);
    const used = new Set(readdirSync(directory(network.id)));
    for (const isThorough of [false, true])
      for (let step = 0n; step < count && step < MAX_TRIES; step += 1n) {
        const address = formatAddress({ family, value: first + ((start - first + step) % count) });
        if (address === subnet.gateway || (!isThorough && used.has(address))) continue;
        if (!tryTake(network.id, address, request)) continue;
        writeFileAtomic(host, cursor, address);
        return address;
      }
    throw new TsbuildError(
      'NETWORK_FULL',
      `network ${JSON.stringify(network.name)} has no free address left in ${subnet.ipRange ?? subnet.subnet}`,
      { hint: 'remove containers, or create a network with a larger --subnet' },
    );
  }

  return {
    directory,
    take(network, subnet, request) {
      try {
        mkdirSync(directory(network.id), { recursive: true, mode: 0o700 });
      } catch (error) {
        throw ioError('lease an address', error);
      }
      return request.wanted === undefined
        ? takeNext(network, subnet, request)
        : takeWanted(network, subnet, request, request.wanted);
    },
    release(networkId, address, containerId) {
      if (read(networkId, address)?.containerId === containerId)
        rmSync(path(networkId, address), { force: true });
    },
    rename(networkId, address, names) {
      const lease = read(networkId, address);
      if (lease === undefined) return;
      writeFileAtomic(
        host,
        path(networkId, address),
        [lease.containerId, lease.owner, ...names, ''].join('\n'),
      );
    },
    list(networkId) {
      const folder = directory(networkId);
      if (!existsSync(folder)) return [];
      return readdirSync(folder)
        .filter((name) => tryParseAddress(name) !== undefined)
        .flatMap((address) => read(networkId, address) ?? []);
    },
  };
}

/** The one after the last that was given: an address is not given again at once. */
function nextAfter(text: string | undefined, family: Family, first: bigint, last: bigint): bigint {
  if (text === undefined) return first;
  const previous = parseAddress(text);
  if (previous.family !== family) return first;
  return previous.value >= first && previous.value < last ? previous.value + 1n : first;
}

function describe(lease: Lease | undefined): string {
  if (lease === undefined) return 'somebody else';
  return `container ${lease.names[0] ?? lease.containerId.slice(0, 12)}`;
}

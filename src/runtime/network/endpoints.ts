/** Endpoints: an address of each subnet leased, names for them, an interface planned; and all of it given back. */
import { TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { bytesOf, parseAddress, parseCidr } from './address.ts';
import type { Endpoint, EndpointRequest, Network } from './contract.ts';
import { macFor, vethName } from './interface-names.ts';
import type { LeaseStore } from './leases.ts';
import { isBridged } from './operations.ts';

export interface EndpointInput {
  readonly network: Network;
  readonly request: EndpointRequest;
  readonly containerId: string;
  readonly name: string | undefined;
  /** `eth0`. */
  readonly interface: string;
}

export interface Endpoints {
  /** Throws ADDRESS_IN_USE, NETWORK_FULL, NETWORK_INVALID, and has leased nothing then. */
  lease(input: EndpointInput): Endpoint;
  release(endpoint: Endpoint, containerId: string): void;
  rename(endpoint: Endpoint, containerId: string, name: string | undefined): void;
}

export function createEndpoints(leases: LeaseStore, host: Host): Endpoints {
  function release(endpoint: Pick<Endpoint, 'networkId' | 'ip' | 'ip6'>, containerId: string): void {
    for (const address of [endpoint.ip, endpoint.ip6])
      if (address !== undefined) leases.release(endpoint.networkId, address, containerId);
  }

  function take(input: EndpointInput, family: 4 | 6): string | undefined {
    const { network, request, containerId, name } = input;
    const wanted = family === 4 ? request.ip : request.ip6;
    const subnet = network.subnets.find((each) => parseCidr(each.subnet).family === family);
    if (subnet === undefined && wanted === undefined) return undefined;
    if (subnet === undefined)
      throw new TsbuildError(
        'NETWORK_INVALID',
        `network ${JSON.stringify(network.name)} has no IPv${family} subnet for the address ${wanted ?? ''}`,
      );
    return leases.take(network, subnet, {
      containerId,
      names: namesOf(containerId, name, request.aliases),
      ...(wanted === undefined ? {} : { wanted }),
    });
  }

  return {
    release,
    lease(input) {
      const { network, request, containerId } = input;
      const ip = take(input, 4);
      let ip6: string | undefined;
      try {
        ip6 = take(input, 6);
      } catch (error) {
        release({ networkId: network.id, ...(ip === undefined ? {} : { ip }) }, containerId);
        throw error;
      }
      return {
        networkId: network.id,
        network: network.name,
        driver: network.driver,
        interface: input.interface,
        ...(isBridged(network) ? { hostInterface: vethName(host.unique(), network.id) } : {}),
        mac: request.mac ?? macFor(ip === undefined ? undefined : bytesOf(parseAddress(ip)), host.unique()),
        ...ip4Fields(network, ip),
        ...ip6Fields(network, ip6),
        aliases: request.aliases,
      };
    },
    rename(endpoint, containerId, name) {
      for (const address of [endpoint.ip, endpoint.ip6])
        if (address !== undefined)
          leases.rename(endpoint.networkId, address, namesOf(containerId, name, endpoint.aliases));
    },
  };
}

const SHORT_ID = 12;

function namesOf(
  containerId: string,
  name: string | undefined,
  aliases: readonly string[],
): readonly string[] {
  return [...new Set([...(name === undefined ? [] : [name]), containerId.slice(0, SHORT_ID), ...aliases])];
}

function ip4Fields(network: Network, ip: string | undefined): Pick<Endpoint, 'ip' | 'prefix' | 'gateway'> {
  const found = fieldsOf(network, ip, 4);
  if (found === undefined) return {};
  return {
    ip: found.ip,
    prefix: found.prefix,
    ...(found.gateway === undefined ? {} : { gateway: found.gateway }),
  };
}

function ip6Fields(network: Network, ip: string | undefined): Pick<Endpoint, 'ip6' | 'prefix6' | 'gateway6'> {
  const found = fieldsOf(network, ip, 6);
  if (found === undefined) return {};
  return {
    ip6: found.ip,
    prefix6: found.prefix,
    ...(found.gateway === undefined ? {} : { gateway6: found.gateway }),
  };
}

/** An internal network leads nowhere: no gateway is set. */
function fieldsOf(
  network: Network,
  ip: string | undefined,
  family: 4 | 6,
): { readonly ip: string; readonly prefix: number; readonly gateway: string | undefined } | undefined {
  const subnet = network.subnets.find((each) => parseCidr(each.subnet).family === family);
  if (ip === undefined || subnet === undefined) return undefined;
  return {
    ip,
    prefix: parseCidr(subnet.subnet).prefix,
    gateway: network.internal ? undefined : subnet.gateway,
  };
}

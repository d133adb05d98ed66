/** Where published ports lead: to the container's address of the same family, or else to the one that it has. */
import { parseAddress } from './address.ts';
import type { Endpoint, PortForward, PublishedPort } from './contract.ts';

export function portForwards(ports: readonly PublishedPort[], target: Endpoint): readonly PortForward[] {
  return ports.flatMap((port) => {
    const [same, other] = isV4(port.hostIp) ? [target.ip, target.ip6] : [target.ip6, target.ip];
    const address = same ?? (port.protocol === 'sctp' ? undefined : other);
    return address === undefined ? [] : [{ ...port, address }];
  });
}

/** What rules can do, which rewrite an address by one of the same family. */
export function isRewritten({ hostIp, address }: PortForward): boolean {
  return isV4(hostIp) === isV4(address);
}

function isV4(address: string): boolean {
  return parseAddress(address).family === 4;
}

/** Published ports as rules: each leads to the container's address of the same family. */
import { parseAddress } from './address.ts';
import type { Endpoint, PublishedPort } from './contract.ts';
import type { PortRule } from './nft/elements.ts';

export function portRules(ports: readonly PublishedPort[], target: Endpoint): readonly PortRule[] {
  return ports.flatMap((port) => {
    const address = parseAddress(port.hostIp).family === 4 ? target.ip : target.ip6;
    return address === undefined ? [] : [{ ...port, address }];
  });
}

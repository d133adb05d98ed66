/** Published ports as a container's monitor holds them, and what it says when it cannot. */
import { constants } from 'node:os';
import type { MonitorPort } from '../../../native/monitor.ts';
import type { LaunchProblem } from '../../../native/launcher.ts';
import { TsbuildError } from '../../base/errors.ts';
import { bytesOf, parseAddress } from '../../runtime/network/address.ts';
import type { PortForward } from '../../runtime/network/contract.ts';

/** SCTP is left to the rules: hardly anybody else listens on it, and nobody relays it. */
export function monitorPorts(forwards: readonly PortForward[]): readonly MonitorPort[] {
  return forwards.flatMap(({ protocol, hostIp, hostPort, address, containerPort }) =>
    protocol === 'sctp'
      ? []
      : [
          {
            protocol,
            from: { bytes: bytesOf(parseAddress(hostIp)), port: hostPort },
            to: { bytes: bytesOf(parseAddress(address)), port: containerPort },
          },
        ],
  );
}

/** Somebody took the port since it was found free; undefined where the problem is another one. */
export function portError({ errno, text }: LaunchProblem): TsbuildError | undefined {
  if (!/:\d+\/(?:tcp|udp)$/.test(text)) return undefined;
  const { EADDRINUSE, EADDRNOTAVAIL, EMFILE } = constants.errno;
  const failed = `bind for ${text} failed`;
  if (errno === EADDRINUSE)
    return new TsbuildError('PORT_IN_USE', `${failed}: address already in use`, {
      hint: 'stop what listens there, or publish on another port of the host',
    });
  if (errno === EADDRNOTAVAIL)
    return new TsbuildError('ADDRESS_IN_USE', `${failed}: this host has no such address`);
  if (errno === EMFILE)
    return new TsbuildError('NETWORK_UNAVAILABLE', `${failed}: too many open files`, {
      hint: 'publish fewer ports, or raise the hard limit of open files (ulimit -Hn)',
    });
  return new TsbuildError('NETWORK_UNAVAILABLE', `${failed}: errno ${errno}`);
}

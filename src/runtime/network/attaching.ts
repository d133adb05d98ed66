/** What attaching and its changes work with, and what both of them ask: links, and the names that are answered. */
import type { NetCall } from '../../../native/net-call.ts';
import type { NetOp } from '../../../native/net-plan.ts';
import type { AttachmentStore } from './attachment-store.ts';
import type { BringUp } from './bring-up.ts';
import { DEFAULT_NETWORK } from './choice.ts';
import { nameServiceConfig, planNames } from './container-files.ts';
import type { Endpoint, Network } from './contract.ts';
import type { AttachmentRecord } from './documents.ts';
import type { Endpoints } from './endpoints.ts';
import type { HostLock } from './host-lock.ts';
import type { LeaseStore } from './leases.ts';
import { endpointOps, type PortOptions } from './operations.ts';
import type { PortClaims } from './port-claims.ts';

export interface Attaching {
  readonly root: string;
  /** Directory of pinned namespaces. */
  readonly netnsDirectory: string;
  readonly call: NetCall;
  readonly bringUp: BringUp;
  readonly endpoints: Endpoints;
  readonly leases: LeaseStore;
  readonly attached: AttachmentStore;
  readonly claims: PortClaims;
  readonly lock: HostLock;
  /** Text of the host's resolv.conf. */
  readonly resolvConf: () => string;
  readonly find: (nameOrId: string) => Promise<Network>;
}

export const SHORT_ID = 12;

export function linkOps(
  a: Attaching,
  network: Network,
  endpoint: Endpoint | undefined,
  port: Omit<PortOptions, 'mtu'>,
): readonly NetOp[] {
  return endpoint === undefined
    ? []
    : endpointOps(network, endpoint, { mtu: a.bringUp.mtuOf(network), ...port });
}

export interface Served {
  readonly resolvConf: string;
  readonly config: string | undefined;
}

export function isServed(a: Attaching, { endpoints, dns }: AttachmentRecord): boolean {
  return planNames(a.resolvConf(), dns, hasNames(endpoints)).isServed;
}

/** As docker: the default network knows no names. */
function hasNames(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some(({ network }) => network !== DEFAULT_NETWORK);
}

export function namesOf(a: Attaching, record: AttachmentRecord): Served {
  const { containerId, endpoints, dns } = record;
  const plan = planNames(a.resolvConf(), dns, hasNames(endpoints));
  const directories = endpoints
    .filter(({ network }) => network !== DEFAULT_NETWORK)
    .map(({ network, networkId }) => ({ name: network, leases: a.leases.directory(networkId) }));
  const config = a.attached.writeNames(containerId, nameServiceConfig(directories, plan.upstream));
  return { resolvConf: plan.resolvConf, config: plan.isServed ? config : undefined };
}

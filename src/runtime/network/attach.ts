/**
 * Attaching a container to networks and detaching it, live too.
 *
 * Order of attach: addresses are leased, ports claimed, then the record is written, then the kernel is told; an
 * error on the way undoes all of it. detach goes the other way and takes every step as possibly done already.
 */
import { TsbuildError } from '../../base/errors.ts';
import type { NetCall } from '../../../native/net-call.ts';
import type { NetOp } from '../../../native/net-plan.ts';
import type { AttachmentStore } from './attachment-store.ts';
import type { BringUp } from './bring-up.ts';
import { hostsFile, nameServiceConfig, planNames } from './container-files.ts';
import type {
  Attachment,
  AttachRequest,
  CallOptions,
  Endpoint,
  EndpointRequest,
  Network,
} from './contract.ts';
import { DEFAULT_NETWORK } from './choice.ts';
import type { AttachmentRecord } from './documents.ts';
import type { Endpoints } from './endpoints.ts';
import type { HostLock } from './host-lock.ts';
import type { LeaseStore } from './leases.ts';
import {
  defaultRouteOps,
  endpointOps,
  isBridged,
  nameServiceOps,
  namespaceOps,
  patientRemovalOps,
  ruleOps,
  type PortOptions,
} from './operations.ts';
import { attempt, errnoNameOf, isDone, perform, problemError, type Done } from './perform.ts';
import type { PortClaims } from './port-claims.ts';
import { portRules } from './port-rules.ts';

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

const SHORT_ID = 12;

export async function attach(
  a: Attaching,
  request: AttachRequest,
  { signal }: CallOptions,
): Promise<Attachment> {
  const networks = await findAll(a, request.endpoints);
  if (a.attached.has(request.containerId)) await detach(a, request.containerId);
  const record = await reserve(a, request, networks);
  try {
    signal?.throwIfAborted();
    const served = namesOf(a, record);
    const notes = new Set<string>(unpublishedNotes(request, record));
    for (const network of networks)
      if (!a.bringUp.isUp(network))
        for (const note of await a.lock(() => a.bringUp.up(network))) notes.add(note);
    const done = await build(a, request, networks, record, notes);
    signal?.throwIfAborted();
    return attachmentOf(a, record, served, done.namespace ?? record.netns, [...notes]);
  } catch (error) {
    await detach(a, request.containerId);
    throw error;
  }
}

async function findAll(a: Attaching, requests: readonly EndpointRequest[]): Promise<readonly Network[]> {
  const networks: Network[] = [];
  for (const { network } of requests) {
    const found = await a.find(network);
    if (networks.some(({ id }) => id === found.id))
      throw new TsbuildError('NETWORK_INVALID', `network ${JSON.stringify(found.name)} is named twice`);
    networks.push(found);
  }
  return networks;
}

/** Addresses and ports, and the record that says so. */
async function reserve(
  a: Attaching,
  request: AttachRequest,
  networks: readonly Network[],
): Promise<AttachmentRecord> {
  const { containerId, name, domainname } = request;
  const endpoints: Endpoint[] = [];
  try {
    for (const [index, network] of networks.entries()) {
      const endpoint = request.endpoints[index];
      if (endpoint !== undefined)
        endpoints.push(
          a.endpoints.lease({ network, request: endpoint, containerId, name, interface: `eth${index}` }),
        );
    }
    const target = publishingEndpoint(endpoints, networks);
    const ports = target === undefined ? [] : await claim(a, request, target);
    const record: AttachmentRecord = {
      containerId,
      ...(name === undefined ? {} : { name }),
      hostname: request.hostname,
      ...(domainname === undefined ? {} : { domainname }),
      holder: request.holder,
      netns: request.heldBy === undefined ? `${a.netnsDirectory}/tsb-${containerId.slice(0, SHORT_ID)}` : '',
      endpoints,
      ports,
      rules: target === undefined ? [] : portRules(ports, target),
      dns: request.dns,
      extraHosts: request.extraHosts,
    };
    a.attached.write(record);
    return record;
  } catch (error) {
    for (const endpoint of endpoints) a.endpoints.release(endpoint, containerId);
    throw error;
  }
}

async function claim(
  a: Attaching,
  request: AttachRequest,
  target: Endpoint,
): Promise<AttachmentRecord['ports']> {
  if (request.ports.length === 0) return [];
  const families = new Set<4 | 6>();
  if (target.ip !== undefined) families.add(4);
  if (target.ip6 !== undefined) families.add(6);
  const holder = {
    root: a.root,
    containerId: request.containerId,
    name: request.name ?? request.containerId.slice(0, SHORT_ID),
  };
  return a.lock(() => a.claims.claim(request.ports, holder, families));
}

/** Ports lead to the first network that has a way out and a bridge. */
function publishingEndpoint(
  endpoints: readonly Endpoint[],
  networks: readonly Network[],
): Endpoint | undefined {
  return endpoints.find((_, index) => {
    const network = networks[index];
    return network !== undefined && isBridged(network) && !network.internal;
  });
}

function unpublishedNotes(request: AttachRequest, record: AttachmentRecord): readonly string[] {
  return request.ports.length > 0 && record.ports.length === 0
    ? ['no port is published: none of the networks has a bridge and a way out']
    : [];
}

/** Errors that say that somebody took away a bridge, or all rules of the host, since they were made. */
const GONE = ['ENODEV', 'ENOENT'];

async function build(
  a: Attaching,
  request: AttachRequest,
  networks: readonly Network[],
  record: AttachmentRecord,
  notes: Set<string>,
): Promise<Done> {
  const rules = ruleOps('add', undefined, record.rules);
  const ops = (): readonly NetOp[] => [
    ...(request.heldBy === undefined ? rules : []),
    ...namespaceOps(record.netns),
    ...networks.flatMap((network, index) =>
      linkOps(a, network, record.endpoints[index], {
        isolated: request.heldBy !== undefined,
        hairpin: rules.length > 0,
      }),
    ),
    ...defaultRouteOps(record.endpoints),
    ...(isServed(a, record) ? nameServiceOps() : []),
  ];
  if (request.heldBy !== undefined && rules.length > 0) await perform(a.call, rules);
  const call = request.heldBy ?? a.call;
  const first = await attempt(call, ops());
  if (isDone(first)) return first;
  if (!GONE.includes(errnoNameOf(first.errno))) throw problemError(first);
  for (const network of networks)
    for (const note of await a.lock(() => a.bringUp.up(network))) notes.add(note);
  if (record.netns !== '')
    await attempt(a.call, [{ op: 'removeNamespace', path: record.netns, tolerate: 'ENOENT' }]);
  return perform(call, ops());
}

function linkOps(
  a: Attaching,
  network: Network,
  endpoint: Endpoint | undefined,
  port: Omit<PortOptions, 'mtu'>,
): readonly NetOp[] {
  return endpoint === undefined
    ? []
    : endpointOps(network, endpoint, { mtu: a.bringUp.mtuOf(network), ...port });
}

interface Served {
  readonly resolvConf: string;
  readonly config: string | undefined;
}

function isServed(a: Attaching, { endpoints, dns }: AttachmentRecord): boolean {
  return planNames(a.resolvConf(), dns, hasNames(endpoints)).isServed;
}

/** As docker: the default network knows no names. */
function hasNames(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some(({ network }) => network !== DEFAULT_NETWORK);
}

function namesOf(a: Attaching, record: AttachmentRecord): Served {
  const { containerId, endpoints, dns } = record;
  const plan = planNames(a.resolvConf(), dns, hasNames(endpoints));
  const directories = endpoints
    .filter(({ network }) => network !== DEFAULT_NETWORK)
    .map(({ network, networkId }) => ({ name: network, leases: a.leases.directory(networkId) }));
  const config = a.attached.writeNames(containerId, nameServiceConfig(directories, plan.upstream));
  return { resolvConf: plan.resolvConf, config: plan.isServed ? config : undefined };
}

function attachmentOf(
  a: Attaching,
  record: AttachmentRecord,
  { resolvConf, config }: Served,
  netns: string,
  notes: readonly string[],
): Attachment {
  return {
    containerId: record.containerId,
    netns,
    endpoints: record.endpoints,
    ports: record.ports,
    hosts: hostsFile(record),
    resolvConf,
    ...(config === undefined ? {} : { nameService: { netns, config } }),
    notes,
  };
}

export function currentAttachment(a: Attaching, containerId: string): Attachment | undefined {
  const record = a.attached.read(containerId);
  if (record === undefined) return undefined;
  return attachmentOf(a, record, namesOf(a, record), record.netns, []);
}

export async function detach(a: Attaching, containerId: string): Promise<void> {
  const record = a.attached.read(containerId);
  // A record that does not parse holds nothing that could be undone.
  if (record === undefined) return a.attached.remove(containerId);
  const rest: readonly NetOp[] = [
    // What another process held is gone with it.
    ...(record.netns === ''
      ? []
      : [
          ...record.endpoints.flatMap(takeDownOps),
          { op: 'removeNamespace', path: record.netns, tolerate: 'ENOENT' } as const,
        ]),
  ];
  await undo(a, record, rest);
  for (const endpoint of record.endpoints) a.endpoints.release(endpoint, containerId);
  if (record.ports.length > 0)
    await a.lock(() => Promise.resolve(a.claims.release(record.ports, containerId)));
  a.attached.remove(containerId);
}

async function undo(a: Attaching, { rules }: AttachmentRecord, rest: readonly NetOp[]): Promise<void> {
  const ops = [...ruleOps('remove', undefined, rules), ...rest];
  if (ops.length === 0) return;
  const result = await attempt(a.call, ops);
  // Something is gone already: one after the other, then.
  if (!isDone(result)) await perform(a.call, [...patientRemovalOps(undefined, rules), ...rest]);
}

/**
 * The kernel removes a veth pair with the namespace, soon after its last process. Until then a process that still
 * holds the namespace must not keep the address on the network; removing the pair here would take 25 ms (an RCU
 * barrier) where taking it down takes none.
 */
function takeDownOps({ hostInterface }: Endpoint): readonly NetOp[] {
  if (hostInterface === undefined) return [];
  return [{ op: 'down', side: 'host', name: hostInterface, tolerate: 'ENODEV' }];
}

function removeLinkOps({ hostInterface }: Endpoint): readonly NetOp[] {
  if (hostInterface === undefined) return [];
  return [{ op: 'deleteLink', side: 'host', name: hostInterface, tolerate: 'ENODEV' }];
}

export async function connect(
  a: Attaching,
  containerId: string,
  request: EndpointRequest,
): Promise<Endpoint> {
  const record = requireRecord(a, containerId);
  const network = await a.find(request.network);
  if (record.endpoints.some(({ networkId }) => networkId === network.id))
    throw new TsbuildError(
      'NETWORK_IN_USE',
      `the container is connected to ${JSON.stringify(network.name)} already`,
    );
  const { name } = record;
  const endpoint = a.endpoints.lease({
    network,
    request,
    containerId,
    name,
    interface: freeName(record.endpoints),
  });
  const changed = { ...record, endpoints: [...record.endpoints, endpoint] };
  a.attached.write(changed);
  try {
    await a.lock(() => a.bringUp.up(network));
    await perform(a.call, [
      { op: 'openNamespace', path: record.netns },
      ...linkOps(a, network, endpoint, { isolated: false, hairpin: false }),
      ...defaultRouteOps(changed.endpoints),
      // The default network alone has no name service: its first other network brings it.
      ...(isServed(a, changed) && !isServed(a, record) ? nameServiceOps() : []),
    ]);
  } catch (error) {
    await attempt(a.call, removeLinkOps(endpoint));
    a.endpoints.release(endpoint, containerId);
    a.attached.write(record);
    throw error;
  }
  namesOf(a, changed);
  return endpoint;
}

export async function disconnect(a: Attaching, containerId: string, nameOrId: string): Promise<void> {
  const record = requireRecord(a, containerId);
  const network = await a.find(nameOrId);
  const endpoint = record.endpoints.find(({ networkId }) => networkId === network.id);
  if (endpoint === undefined)
    throw new TsbuildError(
      'NETWORK_NOT_FOUND',
      `the container is not connected to ${JSON.stringify(network.name)}`,
    );
  const endpoints = record.endpoints.filter((each) => each !== endpoint);
  const isTarget = (address: string): boolean => address === endpoint.ip || address === endpoint.ip6;
  const rules = record.rules.filter(({ address }) => !isTarget(address));
  const closed = record.rules.length > rules.length;
  const changed = { ...record, endpoints, rules, ports: closed ? [] : record.ports };
  await perform(a.call, [
    ...patientRemovalOps(
      undefined,
      record.rules.filter(({ address }) => isTarget(address)),
    ),
    { op: 'openNamespace', path: record.netns },
    { op: 'deleteLink', side: 'inside', name: endpoint.interface, tolerate: 'ENODEV' },
    ...defaultRouteOps(endpoints),
  ]);
  a.attached.write(changed);
  namesOf(a, changed);
  a.endpoints.release(endpoint, containerId);
  if (closed) await a.lock(() => Promise.resolve(a.claims.release(record.ports, containerId)));
}

export function renameAttached(a: Attaching, containerId: string, name: string): void {
  const record = a.attached.read(containerId);
  if (record === undefined) return;
  a.attached.write({ ...record, name });
  for (const endpoint of record.endpoints) a.endpoints.rename(endpoint, containerId, name);
}

function requireRecord(a: Attaching, containerId: string): AttachmentRecord {
  const record = a.attached.read(containerId);
  if (record === undefined || record.netns === '')
    throw new TsbuildError(
      'NETWORK_INVALID',
      `container ${containerId.slice(0, SHORT_ID)} has no network namespace of its own now`,
      { hint: 'connect it while it runs on a bridge network' },
    );
  return record;
}

function freeName(endpoints: readonly Endpoint[]): string {
  let number = 0;
  while (endpoints.some((endpoint) => endpoint.interface === `eth${number}`)) number += 1;
  return `eth${number}`;
}

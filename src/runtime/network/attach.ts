/**
 * Attaching a container to networks and detaching it.
 *
 * Order of attach: addresses are leased, ports claimed, then the record is written, then the kernel is told; an
 * error on the way undoes all of it. detach goes the other way and takes every step as possibly done already.
 */
import { TsbuildError } from '../../base/errors.ts';
import type { NetOp } from '../../../native/net-plan.ts';
import { isServed, linkOps, namesOf, SHORT_ID, type Attaching, type Served } from './attaching.ts';
import { hostsFile } from './container-files.ts';
import type {
  Attachment,
  AttachRequest,
  CallOptions,
  Endpoint,
  EndpointRequest,
  Network,
} from './contract.ts';
import type { AttachmentRecord } from './documents.ts';
import { hasTable } from './bring-up.ts';
import {
  CHAINS_OP,
  defaultRouteOps,
  isBridged,
  nameServiceOps,
  namespaceOps,
  patientRemovalOps,
  ruleOps,
  sysctl,
} from './operations.ts';
import { attempt, errnoNameOf, isDone, perform, problemError, type Done } from './perform.ts';
import { isRewritten, portForwards } from './port-rules.ts';

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
    const ports = target === undefined ? [] : await claim(a, request);
    const forwards = target === undefined ? [] : portForwards(ports, target);
    const record: AttachmentRecord = {
      containerId,
      ...(name === undefined ? {} : { name }),
      hostname: request.hostname,
      ...(domainname === undefined ? {} : { domainname }),
      holder: request.holder,
      netns: request.heldBy === undefined ? `${a.netnsDirectory}/tsb-${containerId.slice(0, SHORT_ID)}` : '',
      endpoints,
      ports,
      rules: forwards.filter(isRewritten),
      forwards,
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

async function claim(a: Attaching, request: AttachRequest): Promise<AttachmentRecord['ports']> {
  if (request.ports.length === 0) return [];
  const holder = {
    root: a.root,
    containerId: request.containerId,
    name: request.name ?? request.containerId.slice(0, SHORT_ID),
  };
  return a.lock(() => a.claims.claim(request.ports, holder));
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
  if (request.ports.length > 0 && record.ports.length === 0)
    return ['no port is published: none of the networks has a bridge and a way out'];
  return record.forwards.length < record.ports.length
    ? ['an SCTP port is not published: the container has no address of that family, and SCTP is not relayed']
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
    ...(request.heldBy === undefined ? [CHAINS_OP, ...rules] : []),
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
  if (isDone(first)) {
    const chains = first.answers.get(0);
    // why: without published ports nothing fails where the rules are gone, and there is no way out.
    if (chains !== undefined && networks.some(isBridged) && !hasTable(chains))
      for (const note of await a.lock(() => a.bringUp.restore())) notes.add(note);
    return first;
  }
  if (!GONE.includes(errnoNameOf(first.errno))) throw problemError(first);
  for (const network of networks)
    for (const note of await a.lock(() => a.bringUp.up(network))) notes.add(note);
  if (record.netns !== '')
    await attempt(a.call, [{ op: 'removeNamespace', path: record.netns, tolerate: 'ENOENT' }]);
  return perform(call, ops());
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
    forwards: record.forwards,
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
  await undo(a, record, rest, record.netns === '' ? [] : forgetConnectionsOps(record.netns));
  for (const endpoint of record.endpoints) a.endpoints.release(endpoint, containerId);
  if (record.ports.length > 0)
    await a.lock(() => Promise.resolve(a.claims.release(record.ports, containerId)));
  a.attached.remove(containerId);
}

/** `wished`: not insisted on where one of all fails. */
async function undo(
  a: Attaching,
  { rules }: AttachmentRecord,
  rest: readonly NetOp[],
  wished: readonly NetOp[] = [],
): Promise<void> {
  const ops = [...ruleOps('remove', undefined, rules), ...wished, ...rest];
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

/**
 * A connection that a killed process leaves with unsent bytes keeps its namespace, and so the pair, for a minute or two
 * (tcp_orphan_retries of ip-sysctl). Nobody is reached any more: it is given up at its next attempt.
 */
function forgetConnectionsOps(netns: string): readonly NetOp[] {
  return [{ op: 'openNamespace', path: netns }, sysctl('inside', 'ipv4/tcp_orphan_retries', '1')];
}

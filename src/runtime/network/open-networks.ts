/** The networks of a state root (contract in contract.ts). */
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readTextIfExists } from '../../base/atomic-file.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isOwnerAlive } from '../../base/owner.ts';
import type { NetCall } from '../../../native/net-call.ts';
import { parseCidr, type Cidr } from './address.ts';
import { attach, currentAttachment, detach } from './attach.ts';
import type { Attaching } from './attaching.ts';
import { createAttachmentStore, isAttachedIn } from './attachment-store.ts';
import { createBringUp, type BringUp } from './bring-up.ts';
import { DEFAULT_NETWORK } from './choice.ts';
import { beyondStub, parseResolvConf } from './container-files.ts';
import type { Network, NetworkRequest, Networks, Subnet } from './contract.ts';
import { checkOptions } from './driver-options.ts';
import { createEndpoints } from './endpoints.ts';
import { createHostLock } from './host-lock.ts';
import type { HostState } from './host-state.ts';
import { bridgeName } from './interface-names.ts';
import { createLeases } from './leases.ts';
import { checkNetworkName, createNetworkStore, type NetworkStore } from './network-store.ts';
import { connect, disconnect, renameAttached } from './membership.ts';
import { isBridged } from './operations.ts';
import { createPortClaims } from './port-claims.ts';
import { chooseSubnet4, chooseSubnet6, completeSubnet, rejectOverlap } from './subnets.ts';

export interface NetworksOptions {
  /** The state root. */
  readonly root: string;
  readonly host: Host;
  readonly call: NetCall;
  /** Text of the host's resolv.conf. */
  readonly resolvConf: () => string;
  /** Of what is the host's and gone at its next start: ports, bridges, the lock. */
  readonly runDirectory: string;
  /** Where namespaces are pinned. */
  readonly netnsDirectory: string;
}

export function openNetworks(options: NetworksOptions): Networks {
  const { root, host, call, netnsDirectory } = options;
  const runDirectory = join(options.runDirectory, thisNamespace());
  const resolvConf = (): string => beyondStub(options.resolvConf(), readTextIfExists);
  const directory = join(root, 'networks');
  const store = createNetworkStore(directory, host);
  const attached = createAttachmentStore(directory, host);
  const leases = createLeases(directory, host, (id) => attached.has(id));
  const lock = createHostLock(runDirectory);
  const nameServers = (): readonly string[] => parseResolvConf(resolvConf()).servers;
  const bringUp = createBringUp({ root, runDirectory, host, call, nameServers });
  const definitions = { root, host, store, bringUp };

  /** The default network is made when somebody asks for it. */
  async function find(nameOrId: string): Promise<Network> {
    const name = nameOrId === 'default' ? DEFAULT_NETWORK : nameOrId;
    const found = store.find(name);
    if (found !== undefined) return found;
    if (name === DEFAULT_NETWORK)
      return lock(async () => store.find(name) ?? define(definitions, { name: DEFAULT_NETWORK }));
    throw new TsbuildError('NETWORK_NOT_FOUND', `there is no network ${JSON.stringify(nameOrId)}`, {
      hint: 'list them with "tsbuild network ls", or make it with "tsbuild network create"',
    });
  }

  const attaching: Attaching = {
    root,
    netnsDirectory,
    call,
    bringUp,
    leases,
    attached,
    lock,
    resolvConf,
    find,
    endpoints: createEndpoints(leases, host),
    claims: createPortClaims(runDirectory, host, (holder) =>
      isAttachedIn(holder.root, holder.containerId, holder.owner),
    ),
  };

  return {
    find,
    async create(request) {
      checkNetworkName(request.name);
      return lock(async () => {
        const network = await define(definitions, request);
        await bringUp.up(network);
        return network;
      });
    },
    async list() {
      await find(DEFAULT_NETWORK);
      return [...store.list()].sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async remove(nameOrId) {
      const network = await find(nameOrId);
      if (network.name === DEFAULT_NETWORK)
        throw new TsbuildError('NETWORK_INVALID', `the network ${DEFAULT_NETWORK} is predefined and stays`);
      const users = leases.list(network.id).filter(({ containerId }) => attached.has(containerId));
      if (users.length > 0)
        throw new TsbuildError(
          'NETWORK_IN_USE',
          `network ${JSON.stringify(network.name)} is used by ${[...new Set(users.map(({ names, containerId }) => names[0] ?? containerId))].join(', ')}`,
          { hint: 'stop or disconnect them first' },
        );
      await lock(() => bringUp.down(network));
      store.remove(network);
      return network;
    },
    endpoints(network) {
      return Promise.resolve(
        attached
          .list()
          .flatMap(({ containerId, name, endpoints }) =>
            endpoints
              .filter(({ networkId }) => networkId === network.id)
              .map((endpoint) => ({ containerId, name, endpoint })),
          ),
      );
    },
    attach: (request, callOptions = {}) => attach(attaching, request, callOptions),
    attachment: (containerId) => Promise.resolve(currentAttachment(attaching, containerId)),
    detach: (containerId) => detach(attaching, containerId),
    connect: (containerId, endpoint) => connect(attaching, containerId, endpoint),
    disconnect: (containerId, network) => disconnect(attaching, containerId, network),
    rename: (containerId, name) => Promise.resolve(renameAttached(attaching, containerId, name)),
    restore: () => lock(() => bringUp.restore()),
    async sweep(isAlive) {
      const removed: string[] = [];
      for (const { containerId, holder } of attached.list()) {
        if (holder.kind === 'process' ? isOwnerAlive(holder.owner) : isAlive(containerId)) continue;
        await detach(attaching, containerId);
        removed.push(`attachment of ${containerId.slice(0, 12)}`);
      }
      for (const { id } of store.list())
        for (const { address, containerId, owner } of leases.list(id)) {
          if (attached.has(containerId) || isOwnerAlive(owner)) continue;
          leases.release(id, address, containerId);
          removed.push(`lease of ${address}`);
        }
      for (const interfaceName of await lock(() => sweepBridges(bringUp)))
        removed.push(`bridge ${interfaceName}`);
      removed.push(...(await lock(() => bringUp.restore())));
      return removed;
    },
  };
}

/** why: bridges and ports are those of a network namespace, and several may share one /run. */
function thisNamespace(): string {
  return `net-${statSync('/proc/self/ns/net').ino}`;
}

/** Bridges of state roots, or of networks, that are gone. */
async function sweepBridges(bringUp: BringUp): Promise<readonly string[]> {
  const gone = bringUp
    .records()
    .filter(({ root, networkId }) => !existsSync(join(root, 'networks', networkId, 'network.json')));
  for (const record of gone) await bringUp.remove(record);
  return gone.map((record) => record.interface);
}

interface Definitions {
  readonly root: string;
  readonly host: Host;
  readonly store: NetworkStore;
  readonly bringUp: BringUp;
}

/** Under the host's lock: nobody else chooses a subnet meanwhile. */
async function define(
  { root, host, store, bringUp }: Definitions,
  request: NetworkRequest,
): Promise<Network> {
  const { name, driver = 'bridge', internal = false, labels = {} } = request;
  const id = createHash('sha256').update(`${root}\0${name}\0${host.unique()}\0${host.now()}`).digest('hex');
  const options = checkOptions(driver, request.options ?? {});
  const isOurs = isBridged({ driver });
  await sweepBridges(bringUp);
  const state = await bringUp.hostState();
  const subnets = chooseSubnets({ root, id, state, store, bringUp }, request, isOurs);
  const network: Network = {
    id,
    name,
    driver,
    subnets,
    internal,
    ipv6: subnets.some(({ subnet }) => parseCidr(subnet).family === 6),
    options,
    labels,
    created: new Date(host.now()).toISOString(),
    interface: isOurs ? bridgeName(root, id) : (options['parent'] ?? ''),
  };
  store.add(network);
  return network;
}

interface SubnetInput {
  readonly root: string;
  readonly id: string;
  readonly state: HostState;
  readonly store: NetworkStore;
  readonly bringUp: BringUp;
}

function chooseSubnets(
  { root, id, state, store, bringUp }: SubnetInput,
  request: NetworkRequest,
  isOurs: boolean,
): readonly Subnet[] {
  const others = [
    ...store.list().flatMap(({ name, subnets }) => named(`network ${JSON.stringify(name)}`, subnets)),
    ...bringUp.records().flatMap((record) =>
      named(
        `network of the state root ${JSON.stringify(record.root)}`,
        record.subnets.map((subnet) => ({ subnet })),
      ),
    ),
    ...state.taken.map((cidr) => ({ what: 'a route of this host', cidr })),
  ];
  const given = (request.subnets ?? []).map(completeSubnet);
  const families = given.map(({ subnet }) => parseCidr(subnet).family);
  if (new Set(families).size < families.length)
    throw new TsbuildError('NETWORK_INVALID', 'a network has one subnet of each address family at most');
  // A macvlan shares the subnet of its parent: there it is meant to overlap.
  if (isOurs) for (const subnet of given) rejectOverlap(subnet, others);
  const start = Number.parseInt(createHash('sha256').update(root).digest('hex').slice(0, 6), 16);
  const chosen4 =
    families.includes(4) || (given.length > 0 && request.ipv6 !== true)
      ? []
      : [
          completeSubnet(
            chooseSubnet4(
              others.map(({ cidr }) => cidr),
              start,
            ),
          ),
        ];
  const chosen6 =
    request.ipv6 === true && !families.includes(6) ? [completeSubnet(chooseSubnet6(root, id))] : [];
  return [...given, ...chosen4, ...chosen6];
}

function named(
  what: string,
  subnets: readonly Subnet[],
): readonly { readonly what: string; readonly cidr: Cidr }[] {
  return subnets.map(({ subnet }) => ({ what, cidr: parseCidr(subnet) }));
}

/**
 * Networks of containers: what can be asked, what is answered, and who answers for what.
 *
 * A container on networks has a network namespace pinned at /run/netns/tsb-<12 hex>, so that ip-netns(8), lsns(8)
 * and nsenter(1) see it. `attach` makes it, with its interfaces, addresses, published ports and names, before the
 * container starts; `detach` undoes all of it and is idempotent. What attach did is written down before it is done
 * (ROOT/networks/attached/<container>.json), so that whoever finds a dead container can detach it.
 *
 * Everything here is plain data; nothing is looked up in flags or images.
 */
import type { NetCall } from '../../../native/net-call.ts';

export type NetworkDriver = 'bridge' | 'macvlan' | 'ipvlan' | 'vxlan';
export type Protocol = 'tcp' | 'udp' | 'sctp';

export interface Subnet {
  /** `10.4.0.0/24` or `fd12::/64`. */
  readonly subnet: string;
  readonly gateway?: string;
  /** Addresses are given out of this part alone, as CIDR. */
  readonly ipRange?: string;
}

export interface Network {
  /** 64 hex digits. */
  readonly id: string;
  readonly name: string;
  readonly driver: NetworkDriver;
  /** At most one per address family. */
  readonly subnets: readonly Subnet[];
  /** No way out: no masquerade, no default route. */
  readonly internal: boolean;
  readonly ipv6: boolean;
  /** As given with -o, e.g. `mtu`, `parent`, `vni`. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly created: string;
  /** Interface of the host: the bridge, or the parent of a macvlan. */
  readonly interface: string;
}

export interface NetworkRequest {
  readonly name: string;
  readonly driver?: NetworkDriver;
  readonly subnets?: readonly Subnet[];
  readonly internal?: boolean;
  readonly ipv6?: boolean;
  readonly options?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What `--network` says. */
export type NetworkChoice =
  | { readonly kind: 'host' }
  | { readonly kind: 'none' }
  /** The namespace of another container, by name or id. */
  | { readonly kind: 'container'; readonly container: string }
  | { readonly kind: 'networks'; readonly endpoints: readonly EndpointRequest[] };

export interface EndpointRequest {
  /** Name or id (also abbreviated) of a network. */
  readonly network: string;
  readonly aliases: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
  /** `02:42:…`; absent: derived from the address. */
  readonly mac?: string;
}

/** One interface of a container. */
export interface Endpoint {
  readonly networkId: string;
  readonly network: string;
  readonly driver: NetworkDriver;
  /** Inside: `eth0`, `eth1`, … */
  readonly interface: string;
  /** On the host; absent for macvlan. */
  readonly hostInterface?: string;
  readonly mac: string;
  readonly ip?: string;
  readonly prefix?: number;
  readonly gateway?: string;
  readonly ip6?: string;
  readonly prefix6?: number;
  readonly gateway6?: string;
  readonly aliases: readonly string[];
}

/** A port that shall be reached from outside. One entry per container port: ranges are spread out already. */
export interface PortRequest {
  /** Absent: all addresses of the host, of both families. */
  readonly hostIp?: string;
  /** Absent: any free one; a wide range: any free one of it. */
  readonly hostPorts?: { readonly first: number; readonly last: number };
  readonly containerPort: number;
  readonly protocol: Protocol;
}

export interface PublishedPort {
  /** `0.0.0.0`, `::` or an address of the host. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Protocol;
}

/** Where a published port leads. With an address of the other family it is relayed instead of rewritten. */
export interface PortForward extends PublishedPort {
  readonly address: string;
}

export interface DnsOptions {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** Who keeps an attachment alive: a container directory of this state root, or a process. */
export type Holder =
  | { readonly kind: 'container' }
  /** Name as of `Host.unique()`: pid and start time tell whether it lives. */
  | { readonly kind: 'process'; readonly owner: string };

export interface AttachRequest {
  /** 64 hex digits (or whatever identifies the holder uniquely in this state root). */
  readonly containerId: string;
  /** Answered by the networks' name service, with the aliases and the first 12 digits of the id. */
  readonly name?: string;
  readonly hostname: string;
  readonly domainname?: string;
  readonly holder: Holder;
  /** At least one. */
  readonly endpoints: readonly EndpointRequest[];
  readonly ports: readonly PortRequest[];
  readonly dns: DnsOptions;
  /** `name:ip`; the ip may be `host-gateway`. */
  readonly extraHosts: readonly string[];
  /**
   * Who makes the namespace and holds it, unpinned, instead of a file: the launcher's server of a build. Such an
   * attachment is isolated from others of its kind on the same network.
   */
  readonly heldBy?: NetCall;
}

/** The name service of a namespace, for whoever serves it: the container's monitor, the server of a build. */
export interface NameService {
  /** Path of the network namespace. */
  readonly netns: string;
  /** File that native/launch/dns.c reads, again whenever it changes. */
  readonly config: string;
}

export interface Attachment {
  readonly containerId: string;
  /** Path of the pinned namespace, to be joined. */
  readonly netns: string;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PublishedPort[];
  /** For whoever keeps the container: to be held open, and relayed where rules do not see to it (launch/ports.h). */
  readonly forwards: readonly PortForward[];
  /** Content of /etc/hosts and /etc/resolv.conf. */
  readonly hosts: string;
  readonly resolvConf: string;
  /** There where /etc/resolv.conf leads to it: then somebody must serve it. */
  readonly nameService?: NameService;
  /** Settings of the host that were changed for it, and what may stand in its way. */
  readonly notes: readonly string[];
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface Networks {
  /** Throws NETWORK_INVALID, NETWORK_EXISTS, NETWORK_UNAVAILABLE. */
  create(request: NetworkRequest): Promise<Network>;
  /** By name, id or unambiguous beginning of an id. `bridge` is always there. Throws NETWORK_NOT_FOUND. */
  find(nameOrId: string): Promise<Network>;
  list(): Promise<readonly Network[]>;
  /** Throws NETWORK_NOT_FOUND, NETWORK_IN_USE (somebody is attached), NETWORK_INVALID (predefined). */
  remove(nameOrId: string): Promise<Network>;
  /** Endpoints of a network, with the containers that have them. */
  endpoints(network: Network): Promise<readonly AttachedEndpoint[]>;
  /**
   * Makes the namespace and all that belongs to it, or throws and leaves nothing: NETWORK_NOT_FOUND,
   * ADDRESS_IN_USE, NETWORK_FULL, PORT_IN_USE, NETWORK_INVALID, NETWORK_UNAVAILABLE (the kernel refuses).
   */
  attach(request: AttachRequest, options?: CallOptions): Promise<Attachment>;
  /** What attach gave, as it is now; undefined where nothing is attached. */
  attachment(containerId: string): Promise<Attachment | undefined>;
  /** Undoes attach, in whatever state it is. Idempotent. */
  detach(containerId: string): Promise<void>;
  /** One more network for a running container. Throws as attach does. */
  connect(containerId: string, endpoint: EndpointRequest): Promise<Endpoint>;
  /** Throws NETWORK_NOT_FOUND where the container is not connected to it. */
  disconnect(containerId: string, network: string): Promise<void>;
  /** The names of a running container changed. */
  rename(containerId: string, name: string): Promise<void>;
  /** Makes rules anew that somebody took from the host (`nft flush ruleset`); says so, where it was so. */
  restore(): Promise<readonly string[]>;
  /**
   * Detaches what belongs to dead holders, and takes bridges and rules away whose state root is gone. `isAlive`
   * decides for holders of kind `container`. Then restores. Returns what was done, as words.
   */
  sweep(isAlive: (containerId: string) => boolean): Promise<readonly string[]>;
}

export interface AttachedEndpoint {
  readonly containerId: string;
  readonly name: string | undefined;
  readonly endpoint: Endpoint;
}

/** Content of /etc/hosts and /etc/resolv.conf for containers without a namespace of their own from here. */
export interface HostFiles {
  readonly hosts: string;
  readonly resolvConf: string;
}

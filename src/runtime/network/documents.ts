/** Parsers of the documents that networks keep: what does not fit is absent (it is only ever written by us). */
import { isJsonObject, type Json, type JsonObject } from '../../base/json.ts';
import type {
  AttachRequest,
  Endpoint,
  Holder,
  Network,
  NetworkDriver,
  PortForward,
  Protocol,
  PublishedPort,
  Subnet,
} from './contract.ts';

/** What attach did, or was about to do: all that detach needs. */
export interface AttachmentRecord {
  readonly containerId: string;
  readonly name?: string;
  readonly hostname: string;
  readonly domainname?: string;
  readonly holder: Holder;
  /** Path of the pinned namespace; empty where another process holds it. */
  readonly netns: string;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PublishedPort[];
  /** Those of `forwards` that are elements of the host's rules. */
  readonly rules: readonly PortForward[];
  readonly forwards: readonly PortForward[];
  readonly dns: AttachRequest['dns'];
  readonly extraHosts: readonly string[];
}

/** Who owns an interface of the host, for other state roots: RUN/bridges/<interface>. */
export interface BridgeRecord {
  readonly interface: string;
  readonly root: string;
  readonly networkId: string;
  readonly subnets: readonly string[];
  readonly internal: boolean;
  readonly masquerade: boolean;
  readonly mtu: number;
  readonly vxlan?: string;
}

const DRIVERS: readonly NetworkDriver[] = ['bridge', 'macvlan', 'ipvlan', 'vxlan'];
const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp', 'sctp'];

export function parseNetwork(value: unknown): Network | undefined {
  const at = objectOf(value);
  const driver = DRIVERS.find((each) => each === at?.['driver']);
  if (at === undefined || driver === undefined || textOf(at, 'id') === '') return undefined;
  return {
    id: textOf(at, 'id'),
    name: textOf(at, 'name'),
    driver,
    subnets: objectsOf(at['subnets']).map(subnetOf),
    internal: at['internal'] === true,
    ipv6: at['ipv6'] === true,
    options: textsOf(at['options']),
    labels: textsOf(at['labels']),
    created: textOf(at, 'created'),
    interface: textOf(at, 'interface'),
  };
}

export function parseAttachment(value: unknown): AttachmentRecord | undefined {
  const at = objectOf(value);
  if (at === undefined || textOf(at, 'containerId') === '') return undefined;
  const holder = objectOf(at['holder']);
  const dns = objectOf(at['dns']) ?? {};
  return {
    containerId: textOf(at, 'containerId'),
    ...optionalText(at, 'name'),
    hostname: textOf(at, 'hostname'),
    ...optionalText(at, 'domainname'),
    holder:
      holder?.['kind'] === 'process'
        ? { kind: 'process', owner: textOf(holder, 'owner') }
        : { kind: 'container' },
    netns: textOf(at, 'netns'),
    endpoints: objectsOf(at['endpoints']).flatMap(endpointOf),
    ports: objectsOf(at['ports']).flatMap(publishedOf),
    rules: objectsOf(at['rules']).flatMap(forwardOf),
    forwards: objectsOf(at['forwards']).flatMap(forwardOf),
    dns: { servers: listOf(dns['servers']), search: listOf(dns['search']), options: listOf(dns['options']) },
    extraHosts: listOf(at['extraHosts']),
  };
}

export function parseBridgeRecord(value: unknown): BridgeRecord | undefined {
  const at = objectOf(value);
  if (at === undefined || textOf(at, 'interface') === '') return undefined;
  return {
    interface: textOf(at, 'interface'),
    root: textOf(at, 'root'),
    networkId: textOf(at, 'networkId'),
    subnets: listOf(at['subnets']),
    internal: at['internal'] === true,
    masquerade: at['masquerade'] === true,
    mtu: numberOf(at, 'mtu'),
    ...optionalText(at, 'vxlan'),
  };
}

function subnetOf(at: JsonObject): Subnet {
  return { subnet: textOf(at, 'subnet'), ...optionalText(at, 'gateway'), ...optionalText(at, 'ipRange') };
}

function endpointOf(at: JsonObject): readonly Endpoint[] {
  const driver = DRIVERS.find((each) => each === at['driver']);
  if (driver === undefined) return [];
  return [
    {
      networkId: textOf(at, 'networkId'),
      network: textOf(at, 'network'),
      driver,
      interface: textOf(at, 'interface'),
      ...optionalText(at, 'hostInterface'),
      mac: textOf(at, 'mac'),
      ...optionalText(at, 'ip'),
      ...optionalNumber(at, 'prefix'),
      ...optionalText(at, 'gateway'),
      ...optionalText(at, 'ip6'),
      ...optionalNumber(at, 'prefix6'),
      ...optionalText(at, 'gateway6'),
      aliases: listOf(at['aliases']),
    },
  ];
}

function publishedOf(at: JsonObject): readonly PublishedPort[] {
  const protocol = PROTOCOLS.find((each) => each === at['protocol']);
  if (protocol === undefined) return [];
  return [
    {
      hostIp: textOf(at, 'hostIp'),
      hostPort: numberOf(at, 'hostPort'),
      containerPort: numberOf(at, 'containerPort'),
      protocol,
    },
  ];
}

function forwardOf(at: JsonObject): readonly PortForward[] {
  return publishedOf(at).map((port) => ({ ...port, address: textOf(at, 'address') }));
}

function objectOf(value: unknown): JsonObject | undefined {
  return isJsonObject(value) ? value : undefined;
}

function objectsOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter(isJsonObject) : [];
}

function listOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter((item) => typeof item === 'string') : [];
}

function textsOf(value: Json | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(objectOf(value) ?? {}).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}

function textOf(at: JsonObject, name: string): string {
  const value = at[name];
  return typeof value === 'string' ? value : '';
}

function numberOf(at: JsonObject, name: string): number {
  const value = at[name];
  return typeof value === 'number' ? value : 0;
}

function optionalText<K extends string>(at: JsonObject, name: K): { readonly [P in K]?: string } {
  const value = at[name];
  return (typeof value === 'string' ? { [name]: value } : {}) as { readonly [P in K]?: string };
}

function optionalNumber<K extends string>(at: JsonObject, name: K): { readonly [P in K]?: number } {
  const value = at[name];
  return (typeof value === 'number' ? { [name]: value } : {}) as { readonly [P in K]?: number };
}

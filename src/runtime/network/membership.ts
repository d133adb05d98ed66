/** One network more or less, or another name, for a container that is attached already. */
import { TsbuildError } from '../../base/errors.ts';
import type { NetOp } from '../../../native/net-plan.ts';
import { isServed, linkOps, namesOf, SHORT_ID, type Attaching } from './attaching.ts';
import type { Endpoint, EndpointRequest } from './contract.ts';
import type { AttachmentRecord } from './documents.ts';
import { defaultRouteOps, nameServiceOps, patientRemovalOps } from './operations.ts';
import { attempt, perform } from './perform.ts';

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
  const forwards = record.forwards.filter(({ address }) => !isTarget(address));
  const closed = record.forwards.length > forwards.length;
  const changed = { ...record, endpoints, rules, forwards, ports: closed ? [] : record.ports };
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

function removeLinkOps({ hostInterface }: Endpoint): readonly NetOp[] {
  if (hostInterface === undefined) return [];
  return [{ op: 'deleteLink', side: 'host', name: hostInterface, tolerate: 'ENODEV' }];
}

/** Networks of a container that exists: now where it runs, and from its next start on. */
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { EndpointRequest } from '../../runtime/network/contract.ts';
import type { Engine } from '../engine.ts';
import { reach } from './hold.ts';

/** Throws as Networks.connect does, and NETWORK_INVALID for a container without a network of its own. */
export async function connectContainer(
  engine: Engine,
  container: StoredContainer,
  endpoint: EndpointRequest,
): Promise<void> {
  const endpoints = endpointsOf(container);
  const networks = await engine.networks();
  const { id, name } = await networks.find(endpoint.network);
  if (endpoints.some(({ network }) => network === name || id.startsWith(network)))
    throw new TsbuildError(
      'NETWORK_IN_USE',
      `container ${container.config.name} is connected to ${JSON.stringify(name)} already`,
    );
  if ((await networks.attachment(container.id)) !== undefined) await networks.connect(container.id, endpoint);
  save(engine, container, [...endpoints, { ...endpoint, network: name }]);
}

/** Throws NETWORK_NOT_FOUND where it is not connected. */
export async function disconnectContainer(
  engine: Engine,
  container: StoredContainer,
  network: string,
): Promise<void> {
  const endpoints = endpointsOf(container);
  const networks = await engine.networks();
  const { id, name } = await networks.find(network);
  const rest = endpoints.filter((each) => each.network !== name && !id.startsWith(each.network));
  let isLive = false;
  try {
    const before = await networks.attachment(container.id);
    if (before !== undefined) {
      await networks.disconnect(container.id, id);
      isLive = true;
      const after = await networks.attachment(container.id);
      if (before.ports.length > (after?.ports.length ?? 0)) await givePortsBack(container);
    }
  } catch (error) {
    if (!isTsbuildError(error, 'NETWORK_NOT_FOUND') || rest.length === endpoints.length) throw error;
  }
  if (!isLive && rest.length === endpoints.length)
    throw new TsbuildError(
      'NETWORK_NOT_FOUND',
      `container ${container.config.name} is not connected to ${JSON.stringify(name)}`,
    );
  save(engine, container, rest);
}

/** They led to the network that is gone, and another container may have them by now. */
async function givePortsBack(container: StoredContainer): Promise<void> {
  const held = await reach(container);
  await held?.connection.unpublish();
  held?.connection.close();
}

function endpointsOf({ config }: StoredContainer): readonly EndpointRequest[] {
  if (config.network.kind === 'networks') return config.network.endpoints;
  throw new TsbuildError(
    'NETWORK_INVALID',
    `container ${config.name} has --network ${config.network.kind}: it cannot be on other networks`,
  );
}

function save(engine: Engine, { config }: StoredContainer, endpoints: readonly EndpointRequest[]): void {
  engine.containers.save({ ...config, network: { kind: 'networks', endpoints } });
}

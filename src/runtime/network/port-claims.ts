/**
 * Ports of the host that containers have: one file per address and port under RUN/ports, for all state roots of
 * the host, gone at its next start as the kernel's rules are. Everything here happens under the host's lock.
 */
import { mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isJsonObject } from '../../base/json.ts';
import { formatAddress, parseAddress } from './address.ts';
import type { PortRequest, Protocol, PublishedPort } from './contract.ts';
import { findListener, freePort, hasAddress, isPortFree } from './port-probe.ts';

export interface PortHolder {
  readonly root: string;
  readonly containerId: string;
  readonly name: string;
  readonly owner: string;
}

export interface PortClaims {
  /** All of them or none. Throws PORT_IN_USE, saying who has it. */
  claim(
    requests: readonly PortRequest[],
    holder: Omit<PortHolder, 'owner'>,
  ): Promise<readonly PublishedPort[]>;
  release(ports: readonly PublishedPort[], containerId: string): void;
}

const ANY = { 4: '0.0.0.0', 6: '::' } as const;

export function createPortClaims(
  runDirectory: string,
  host: Host,
  isAlive: (holder: PortHolder) => boolean,
): PortClaims {
  const folder = (protocol: Protocol, port: number): string =>
    join(runDirectory, 'ports', `${protocol}-${port}`);

  /** Who has that port on that address, or on all of them, or on one of all. */
  function holderOf(ip: string, port: number, protocol: Protocol): PortHolder | undefined {
    for (const other of namesIn(folder(protocol, port))) {
      if (!collide(ip, other)) continue;
      const file = join(folder(protocol, port), other);
      const holder = readHolder(file);
      if (holder !== undefined && isAlive(holder)) return holder;
      rmSync(file, { force: true });
    }
    return undefined;
  }

  function write(port: PublishedPort, holder: Omit<PortHolder, 'owner'>): void {
    const directory = folder(port.protocol, port.hostPort);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileAtomic(host, join(directory, port.hostIp), JSON.stringify({ ...holder, owner: host.unique() }));
  }

  function release(ports: readonly PublishedPort[], containerId: string): void {
    for (const { protocol, hostPort, hostIp } of ports) {
      const file = join(folder(protocol, hostPort), hostIp);
      if (readHolder(file)?.containerId === containerId) rmSync(file, { force: true });
      removeIfEmpty(folder(protocol, hostPort));
    }
  }

  async function claimOne(
    request: PortRequest,
    ips: readonly string[],
    holder: Omit<PortHolder, 'owner'>,
  ): Promise<readonly PublishedPort[]> {
    const { containerPort, protocol } = request;
    let refusal: TsbuildError | undefined;
    for await (const hostPort of candidates(request, ips)) {
      refusal = await refusalOf(ips, hostPort, protocol);
      if (refusal !== undefined) continue;
      const ports = ips.map((hostIp) => ({ hostIp, hostPort, containerPort, protocol }));
      for (const port of ports) write(port, holder);
      return ports;
    }
    throw (
      refusal ?? new TsbuildError('PORT_IN_USE', `there is no free port for ${containerPort}/${protocol}`)
    );
  }

  async function refusalOf(
    ips: readonly string[],
    port: number,
    protocol: Protocol,
  ): Promise<TsbuildError | undefined> {
    for (const ip of ips) {
      const holder = holderOf(ip, port, protocol);
      const where = `${ip.includes(':') ? `[${ip}]` : ip}:${port}/${protocol}`;
      if (holder !== undefined)
        return new TsbuildError(
          'PORT_IN_USE',
          `bind for ${where} failed: port is already allocated: container ${holder.name} has it`,
          { hint: 'stop that container, or publish on another port of the host' },
        );
      const free = await isPortFree(ip, port, protocol);
      if (free === 'no-address')
        return new TsbuildError('ADDRESS_IN_USE', `bind for ${where} failed: this host has no such address`);
      if (free === 'used')
        return new TsbuildError(
          'PORT_IN_USE',
          `bind for ${where} failed: address already in use${by(findListener(port, protocol))}`,
          { hint: 'stop what listens there, or publish on another port of the host' },
        );
    }
    return undefined;
  }

  return {
    async claim(requests, holder) {
      const claimed: PublishedPort[] = [];
      try {
        for (const request of requests)
          claimed.push(...(await claimOne(request, await addressesOf(request), holder)));
      } catch (error) {
        release(claimed, holder.containerId);
        throw error;
      }
      return claimed;
    },
    release,
  };
}

/** Without an address: all of the host's, of both families where the host has both. */
async function addressesOf({ hostIp, protocol }: PortRequest): Promise<readonly string[]> {
  if (hostIp !== undefined) return [formatAddress(parseAddress(hostIp))];
  const has6 = protocol !== 'sctp' && (await hasAddress(ANY[6]));
  return has6 ? [ANY[4], ANY[6]] : [ANY[4]];
}

const RANDOM_TRIES = 50;

async function* candidates(
  { hostPorts, protocol }: PortRequest,
  ips: readonly string[],
): AsyncGenerator<number> {
  if (hostPorts === undefined)
    for (let attempt = 0; attempt < RANDOM_TRIES; attempt += 1)
      yield await freePort(ips[0] ?? ANY[4], protocol);
  else for (let port = hostPorts.first; port <= hostPorts.last; port += 1) yield port;
}

function collide(a: string, b: string): boolean {
  if (a.includes(':') !== b.includes(':')) return false;
  return a === b || a === ANY[4] || a === ANY[6] || b === ANY[4] || b === ANY[6];
}

function by(program: string | undefined): string {
  return program === undefined ? '' : ` by ${program}`;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => !name.endsWith('.tmp'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'ENOENT') throw error;
  }
}

function readHolder(file: string): PortHolder | undefined {
  const value = readJsonIfExists(file);
  if (typeof value !== 'object' || value === null || !isJsonObject(value)) return undefined;
  const text = (name: string): string => {
    const found = value[name];
    return typeof found === 'string' ? found : '';
  };
  return { root: text('root'), containerId: text('containerId'), name: text('name'), owner: text('owner') };
}

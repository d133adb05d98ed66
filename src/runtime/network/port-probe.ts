/** Whether a port of the host is free: asked of the kernel by binding it, and given back at once. */
import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { errnoOf } from '../../base/errors.ts';
import type { Protocol } from './contract.ts';

/** Why an address cannot be bound that the host has not, or whose family it has not. */
const ABSENT = ['EADDRNOTAVAIL', 'EINVAL', 'EAFNOSUPPORT'];

export type PortState = 'free' | 'used' | 'no-address';

export async function isPortFree(ip: string, port: number, protocol: Protocol): Promise<PortState> {
  try {
    await bind(ip, port, protocol);
    return 'free';
  } catch (error) {
    const errno = errnoOf(error);
    return errno !== undefined && ABSENT.includes(errno) ? 'no-address' : 'used';
  }
}

/** Whether sockets can have this address. */
export async function hasAddress(ip: string): Promise<boolean> {
  return (await isPortFree(ip, 0, 'udp')) === 'free';
}

/** A port that the kernel would give away now. */
export async function freePort(ip: string, protocol: Protocol): Promise<number> {
  return bind(ip, 0, protocol);
}

function bind(ip: string, port: number, protocol: Protocol): Promise<number> {
  // SCTP has no place in Node, and hardly anybody else listens on it.
  return protocol === 'udp' ? bindUdp(ip, port) : bindTcp(ip, port);
}

function bindTcp(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port));
    });
  });
}

function bindUdp(address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      const bound = socket.address().port;
      socket.close(() => resolve(bound));
    });
  });
}

const LISTEN = '0A';

/** `nginx (pid 812)`: who listens on a port, as far as /proc tells. */
export function findListener(port: number, protocol: Protocol): string | undefined {
  const inodes = new Set(
    ['', '6'].flatMap((suffix) => inodesOf(`/proc/net/${protocol}${suffix}`, port, protocol)),
  );
  if (inodes.size === 0) return undefined;
  for (const pid of readNames('/proc').filter((name) => /^\d+$/.test(name)))
    for (const fd of readNames(`/proc/${pid}/fd`))
      if (inodes.has(/^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${fd}`))?.[1] ?? ''))
        return `${read(`/proc/${pid}/comm`).trim()} (pid ${pid})`;
  return undefined;
}

/** proc(5), /proc/net/tcp: local address, state and inode of each socket. */
function inodesOf(file: string, port: number, protocol: Protocol): readonly string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return read(file)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, local, , state]) => local?.endsWith(suffix) === true && (protocol === 'udp' || state === LISTEN),
    )
    .flatMap((fields) => fields[9] ?? []);
}

function readNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

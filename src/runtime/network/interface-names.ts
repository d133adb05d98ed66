/** Names of the host's interfaces and namespaces: derived, so that state roots that share a host do not clash. */
import { createHash } from 'node:crypto';

/** Interfaces of ours begin so; rules of other firewalls can say `tsb-+`. */
export const BRIDGE_PREFIX = 'tsb-';
const DIGITS = 10;

function digits(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, DIGITS);
}

export function bridgeName(root: string, networkId: string): string {
  return `${BRIDGE_PREFIX}${digits(root, networkId)}`;
}

export function vxlanName(root: string, networkId: string): string {
  return `tsbx${digits(root, networkId)}`;
}

/** Another one for every attachment: the kernel takes its time to forget an interface. */
export function vethName(unique: string, networkId: string): string {
  return `tsbv${digits(unique, networkId)}`;
}

/** As docker: locally administered, the IPv4 address behind it; otherwise random-looking and stable. */
export function macFor(ip: Uint8Array | undefined, seed: string): string {
  const rest =
    ip?.byteLength === 4 ? Buffer.from(ip) : createHash('sha256').update(seed).digest().subarray(0, 4);
  return [0x02, 0x42, ...rest].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':').map((byte) => Number.parseInt(byte, 16)));
}

/** A unique local /64 (RFC 4193): 40 bits of digest as its global id. */
export function localPrefix6(root: string, networkId: string): string {
  const hex = digits(root, networkId);
  return `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}::/64`.replace(
    /(?<=:)0+(?=[0-9a-f])/g,
    '',
  );
}

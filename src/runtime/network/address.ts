/** IPv4 and IPv6 addresses and prefixes as numbers. Texts are canonical (RFC 5952 for IPv6). */
import { isIP } from 'node:net';
import { TsbuildError } from '../../base/errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

/** An aligned block: the bits of `value` beyond `prefix` are zero. */
export interface Cidr extends Address {
  readonly prefix: number;
}

export function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** Undefined where the text is no address. Zone indices are none of it. */
export function tryParseAddress(text: string): Address | undefined {
  const family = isIP(text);
  if (family === 4) return { family, value: fromBytes(text.split('.').map(Number)) };
  if (family !== 6 || text.includes('%')) return undefined;
  return { family, value: parse6(text) };
}

/** Throws NETWORK_INVALID. */
export function parseAddress(text: string): Address {
  const address = tryParseAddress(text);
  if (address === undefined)
    throw new TsbuildError('NETWORK_INVALID', `${JSON.stringify(text)} is no IP address`);
  return address;
}

/** Throws NETWORK_INVALID, also where host bits are set. */
export function parseCidr(text: string): Cidr {
  const [head = '', tail = ''] = text.split('/');
  const address = tryParseAddress(head);
  const prefix = Number(tail);
  if (address === undefined || !/^\d{1,3}$/.test(tail) || prefix > bitsOf(address.family))
    throw new TsbuildError('NETWORK_INVALID', `${JSON.stringify(text)} is no subnet`, {
      hint: 'write it as ADDRESS/PREFIX, e.g. 10.20.0.0/24',
    });
  const cidr = cidrOf(address, prefix);
  if (cidr.value !== address.value)
    throw new TsbuildError(
      'NETWORK_INVALID',
      `${JSON.stringify(text)} is no subnet: it has bits beyond its prefix`,
      { hint: `write ${formatCidr(cidr)}` },
    );
  return cidr;
}

/** The block of that length around an address. */
export function cidrOf({ family, value }: Address, prefix: number): Cidr {
  const rest = BigInt(bitsOf(family) - prefix);
  return { family, value: (value >> rest) << rest, prefix };
}

export function lastOf({ family, value, prefix }: Cidr): bigint {
  return value + (1n << BigInt(bitsOf(family) - prefix)) - 1n;
}

export function containsAddress(cidr: Cidr, { family, value }: Address): boolean {
  return cidr.family === family && value >= cidr.value && value <= lastOf(cidr);
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.value <= lastOf(b) && b.value <= lastOf(a);
}

export function formatAddress({ family, value }: Address): string {
  if (family === 4) return [...bytesOf({ family, value })].join('.');
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(16 * (7 - index))) & 0xffffn);
  const text = groups.map((group) => group.toString(16)).join(':');
  const zeros = [...text.matchAll(/(?:^|(?<=:))0(?::0)+(?=:|$)/g)].map(([run]) => run);
  const longest = zeros.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return text;
  const at = text.search(new RegExp(`(?:^|(?<=:))${longest}(?=:|$)`));
  const before = text.slice(0, at).replace(/:$/, '');
  const after = text.slice(at + longest.length).replace(/^:/, '');
  return `${before}::${after}`;
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr)}/${cidr.prefix}`;
}

/** Network byte order: 4 or 16 bytes. */
export function bytesOf({ family, value }: Address): Uint8Array {
  const bytes = new Uint8Array(bitsOf(family) / 8);
  for (let at = bytes.length - 1, rest = value; at >= 0; at -= 1, rest >>= 8n)
    bytes[at] = Number(rest & 0xffn);
  return bytes;
}

export function addressFromBytes(bytes: Uint8Array): Address | undefined {
  if (bytes.byteLength !== 4 && bytes.byteLength !== 16) return undefined;
  return { family: bytes.byteLength === 4 ? 4 : 6, value: fromBytes([...bytes]) };
}

export function isLoopback({ family, value }: Address): boolean {
  return family === 4 ? value >> 24n === 127n : value === 1n;
}

function fromBytes(bytes: readonly number[]): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function parse6(text: string): bigint {
  // The last 32 bits may be written as IPv4.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const last = dotted === null ? undefined : fromBytes((dotted[2] ?? '').split('.').map(Number));
  const hex = (value: bigint): string => value.toString(16);
  const whole =
    dotted === null || last === undefined
      ? text
      : `${dotted[1] ?? ''}${hex(last >> 16n)}:${hex(last & 0xffffn)}`;
  const [head = '', tail] = whole.split('::');
  const groups = (part: string): readonly string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].reduce(
    (value, group) => (value << 16n) | BigInt(Number.parseInt(group, 16)),
    0n,
  );
}

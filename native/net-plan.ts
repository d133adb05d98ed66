/**
 * Encoder of the launcher's list of network operations (launch/net.h): operations in, bytes out. Pure.
 *
 * Addresses are 16 bytes, an IPv4 address in the first 4 of them; `tolerate` is an errno that counts as done.
 */
import { constants } from 'node:os';
import { TsbuildError } from '../src/base/errors.ts';

const MAGIC = 0x4e425354;
const VERSION = 1;

const CODES = {
  createNamespace: 1,
  openNamespace: 2,
  removeNamespace: 3,
  bridge: 4,
  veth: 5,
  slave: 6,
  vxlan: 7,
  forward: 8,
  deleteLink: 9,
  up: 10,
  address: 11,
  route: 12,
  sysctl: 13,
  send: 14,
  dump: 15,
  down: 16,
} as const;

/** NETLINK_* of linux/netlink.h. */
export const NETLINK = { route: 0, netfilter: 12 } as const;

export type Side = 'host' | 'inside';
/** AF_INET, AF_INET6. */
export type Family = 4 | 6;

export interface Prefix {
  readonly family: Family;
  readonly address: Uint8Array;
  readonly prefix: number;
}

export type NetOp = {
  readonly tolerate?: 'EEXIST' | 'ENOENT' | 'ENODEV';
} /** An empty path: the namespace is held by the launcher alone. */ & (
  | { readonly op: 'createNamespace' | 'openNamespace' | 'removeNamespace'; readonly path: string }
  | {
      readonly op: 'bridge';
      readonly name: string;
      readonly mac: Uint8Array;
      readonly mtu: number;
      readonly alias: string;
    }
  | {
      readonly op: 'veth';
      readonly outside: string;
      readonly bridge: string;
      readonly inside: string;
      readonly mac: Uint8Array;
      readonly mtu: number;
      /** It reaches the bridge itself, and no other isolated port of it. */
      readonly isolated: boolean;
      /** What it sends may come back to it: it asks for a port that it has published itself. */
      readonly hairpin: boolean;
    }
  | {
      readonly op: 'slave';
      readonly kind: 'macvlan' | 'ipvlan';
      readonly mode: number;
      readonly parent: string;
      readonly inside: string;
      readonly mac: Uint8Array;
      readonly mtu: number;
    }
  | {
      readonly op: 'vxlan';
      readonly name: string;
      readonly bridge: string;
      readonly device: string;
      readonly alias: string;
      readonly vni: number;
      readonly port: number;
      readonly mtu: number;
      readonly family: Family;
      readonly local?: Uint8Array;
      readonly group?: Uint8Array;
    }
  | { readonly op: 'forward'; readonly name: string; readonly family: Family; readonly address: Uint8Array }
  | { readonly op: 'deleteLink' | 'up' | 'down'; readonly side: Side; readonly name: string }
  | { readonly op: 'address'; readonly side: Side; readonly address: Prefix; readonly name: string }
  | {
      readonly op: 'route';
      readonly side: Side;
      readonly destination: Prefix;
      readonly gateway?: Uint8Array;
      readonly name: string;
    }
  | { readonly op: 'sysctl'; readonly side: Side; readonly key: string; readonly value: string }
  | {
      readonly op: 'send' | 'dump';
      readonly side: Side;
      readonly protocol: number;
      readonly messages: Uint8Array;
    }
);

/** Throws SPEC_INVALID for a string with a NUL in it. */
export function encodeNetOps(ops: readonly NetOp[]): Uint8Array {
  const parts: Buffer[] = [];
  for (const op of ops) {
    const payload = Buffer.concat(payloadOf(op));
    const head = Buffer.alloc(8);
    head.writeUInt16LE(CODES[op.op], 0);
    head.writeUInt16LE(op.tolerate === undefined ? 0 : constants.errno[op.tolerate], 2);
    head.writeUInt32LE(payload.byteLength, 4);
    parts.push(head, payload, Buffer.alloc((8 - (payload.byteLength % 8)) % 8));
  }
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt16LE(VERSION, 4);
  header.writeUInt32LE(16 + body.byteLength, 8);
  header.writeUInt32LE(ops.length, 12);
  return Buffer.concat([header, body]);
}

function payloadOf(op: NetOp): readonly Buffer[] {
  switch (op.op) {
    case 'createNamespace':
    case 'openNamespace':
    case 'removeNamespace':
      return text(op.path);
    case 'bridge':
      return [u32(op.mtu), fixed(op.mac, 8), ...text(op.name, op.alias)];
    case 'veth':
      return [
        u32(op.mtu, (op.isolated ? 1 : 0) | (op.hairpin ? 2 : 0)),
        fixed(op.mac, 8),
        ...text(op.outside, op.bridge, op.inside),
      ];
    case 'slave':
      return [
        u32(op.kind === 'ipvlan' ? 1 : 0, op.mode, op.mtu),
        fixed(op.mac, 8),
        ...text(op.parent, op.inside),
      ];
    case 'vxlan':
      return [
        u32(op.vni, op.port, op.mtu, familyNumber(op.family)),
        fixed(op.local, 16),
        fixed(op.group, 16),
        ...text(op.name, op.bridge, op.device, op.alias),
      ];
    case 'forward':
      return [u32(familyNumber(op.family)), fixed(op.address, 16), ...text(op.name)];
    case 'deleteLink':
    case 'up':
    case 'down':
      return [u32(sideNumber(op.side)), ...text(op.name)];
    case 'address':
      return [u32(sideNumber(op.side)), ...prefix(op.address), ...text(op.name)];
    case 'route':
      return [u32(sideNumber(op.side)), ...prefix(op.destination), fixed(op.gateway, 16), ...text(op.name)];
    case 'sysctl':
      return [u32(sideNumber(op.side)), ...text(op.key, op.value)];
    case 'send':
    case 'dump':
      return [u32(sideNumber(op.side), op.protocol, op.messages.byteLength), Buffer.from(op.messages)];
  }
}

function prefix({ family, address, prefix: length }: Prefix): readonly Buffer[] {
  return [u32(familyNumber(family), length), fixed(address, 16)];
}

function familyNumber(family: Family): number {
  return family === 4 ? 2 : 10;
}

function sideNumber(side: Side): number {
  return side === 'host' ? 0 : 1;
}

function fixed(bytes: Uint8Array | undefined, size: number): Buffer {
  const field = Buffer.alloc(size);
  field.set((bytes ?? new Uint8Array()).subarray(0, size));
  return field;
}

function text(...values: readonly string[]): readonly Buffer[] {
  return values.map((value) => {
    if (value.includes('\0'))
      throw new TsbuildError('SPEC_INVALID', 'a name of a network has a NUL byte in it');
    return Buffer.from(`${value}\0`, 'utf8');
  });
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * index);
  return bytes;
}

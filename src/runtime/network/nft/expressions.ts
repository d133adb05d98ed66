/** Expressions of nf_tables rules as netlink attributes. linux/netfilter/nf_tables.h; registers as nft(8) uses them. */
import { attribute, nested, textAttribute, u32Attribute } from '../netlink.ts';

const LIST_ELEMENT = 1;
const DATA_VALUE = 1;
const DATA_VERDICT = 2;

/** The 32-bit registers begin at 8; register 1 is the first four of them. */
export const REGISTER = (word: number): number => 8 + word;

export type Expression = Buffer;

function expression(name: string, ...attributes: readonly Buffer[]): Expression {
  return nested(LIST_ELEMENT, textAttribute(1, name), nested(2, ...attributes));
}

const META = { iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;
const CT = { state: 0, status: 2 } as const;

export function meta(key: keyof typeof META, word = 0): Expression {
  return expression('meta', u32Attribute(1, REGISTER(word)), u32Attribute(2, META[key]));
}

function ct(key: keyof typeof CT): Expression {
  return expression('ct', u32Attribute(1, REGISTER(0)), u32Attribute(2, CT[key]));
}

export function payload(base: 'network' | 'transport', offset: number, size: number, word = 0): Expression {
  return expression(
    'payload',
    u32Attribute(1, REGISTER(word)),
    u32Attribute(2, base === 'network' ? 1 : 2),
    u32Attribute(3, offset),
    u32Attribute(4, size),
  );
}

export function compare(value: Uint8Array, operator: 'equal' | 'unequal' = 'equal'): Expression {
  return expression(
    'cmp',
    u32Attribute(1, REGISTER(0)),
    u32Attribute(2, operator === 'equal' ? 0 : 1),
    nested(3, attribute(DATA_VALUE, value)),
  );
}

function bitwise(mask: Uint8Array): Expression {
  return expression(
    'bitwise',
    u32Attribute(1, REGISTER(0)),
    u32Attribute(2, REGISTER(0)),
    u32Attribute(3, mask.byteLength),
    nested(4, attribute(DATA_VALUE, mask)),
    nested(5, attribute(DATA_VALUE, Buffer.alloc(mask.byteLength))),
  );
}

/** In a map, what is found replaces the key in the registers. */
export function lookup(set: string, kind: 'set' | 'map' = 'set'): Expression {
  return expression(
    'lookup',
    textAttribute(1, set),
    u32Attribute(2, REGISTER(0)),
    ...(kind === 'map' ? [u32Attribute(3, REGISTER(0))] : []),
  );
}

/** Address from the first registers, port from the one after it. */
export function destinationNat(family: 4 | 6): Expression {
  return expression(
    'nat',
    u32Attribute(1, 1),
    u32Attribute(2, family === 4 ? 2 : 10),
    u32Attribute(3, REGISTER(0)),
    u32Attribute(5, REGISTER(family === 4 ? 1 : 4)),
  );
}

/** To a constant port of a constant IPv4 address. */
export function destinationNatTo(address: Uint8Array, port: number): readonly Expression[] {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return [
    immediate(0, address),
    immediate(1, bytes),
    expression(
      'nat',
      u32Attribute(1, 1),
      u32Attribute(2, 2),
      u32Attribute(3, REGISTER(0)),
      u32Attribute(5, REGISTER(1)),
    ),
  ];
}

function immediate(word: number, value: Uint8Array): Expression {
  return expression('immediate', u32Attribute(1, REGISTER(word)), nested(2, attribute(DATA_VALUE, value)));
}

export function masquerade(): Expression {
  return expression('masq');
}

/** `fib daddr type` into the first register. */
function destinationType(): Expression {
  const ADDRTYPE = 3;
  const BY_DESTINATION = 2;
  return expression(
    'fib',
    u32Attribute(1, REGISTER(0)),
    u32Attribute(2, ADDRTYPE),
    u32Attribute(3, BY_DESTINATION),
  );
}

const VERDICT = { drop: 0, accept: 1, return: -5 } as const;

export function verdict(code: keyof typeof VERDICT): Expression {
  return expression(
    'immediate',
    u32Attribute(1, 0),
    nested(2, nested(DATA_VERDICT, u32Attribute(1, VERDICT[code]))),
  );
}

/** A number in the machine's byte order, as ct, fib and marks hold them. */
function native32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function isFamily(family: 4 | 6): readonly Expression[] {
  return [meta('nfproto'), compare(Uint8Array.of(family === 4 ? 2 : 10))];
}

const ESTABLISHED_OR_RELATED = 2 | 4;
const DESTINATION_NAT = 1 << 5;

export function isEstablished(): readonly Expression[] {
  return [ct('state'), bitwise(native32(ESTABLISHED_OR_RELATED)), compare(Buffer.alloc(4), 'unequal')];
}

/** Its destination was rewritten: a published port. */
export function isPublished(): readonly Expression[] {
  return [ct('status'), bitwise(native32(DESTINATION_NAT)), compare(Buffer.alloc(4), 'unequal')];
}

const RTN_LOCAL = 2;

export function isForThisHost(): readonly Expression[] {
  return [destinationType(), compare(native32(RTN_LOCAL))];
}

/** 127.0.0.0/8 as source or destination. */
export function isLoopback4(which: 'source' | 'destination'): readonly Expression[] {
  return [...isFamily(4), payload('network', which === 'source' ? 12 : 16, 1), compare(Uint8Array.of(127))];
}

/** ::1. */
export function isToLoopback6(): readonly Expression[] {
  const address = Buffer.alloc(16);
  address[15] = 1;
  return [...isFamily(6), payload('network', 24, 16), compare(address)];
}

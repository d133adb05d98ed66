/** Messages of nf_tables: a batch is one transaction. linux/netfilter/nf_tables.h, nfnetlink.h. */
import {
  attribute,
  FLAG,
  message,
  nested,
  readAttributes,
  readMessages,
  textAttribute,
  textOf,
  u32Attribute,
} from '../netlink.ts';
import type { Expression } from './expressions.ts';

const SUBSYSTEM = 10;
const TYPE = {
  newTable: 0,
  delTable: 2,
  newChain: 3,
  getChain: 4,
  newRule: 6,
  delRule: 8,
  newSet: 9,
  newElement: 12,
  delElement: 14,
} as const;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
export const INET = 1;
const LIST_ELEMENT = 1;
const DATA_VALUE = 1;

/** A message whose flags may still gain NLM_F_ACK. */
export interface NftMessage {
  readonly type: keyof typeof TYPE;
  readonly flags: number;
  readonly attributes: readonly Buffer[];
}

function generic(family: number, resource: number): Buffer {
  const head = Buffer.of(family, 0, 0, 0);
  head.writeUInt16BE(resource, 2);
  return head;
}

/** One transaction of table messages; acknowledged once, after the last of them. */
export function batch(messages: readonly NftMessage[]): Uint8Array {
  return Buffer.concat([
    message(BATCH_BEGIN, 0, generic(0, SUBSYSTEM)),
    ...messages.map(({ type, flags, attributes }, index) =>
      message(
        (SUBSYSTEM << 8) | TYPE[type],
        flags | (index === messages.length - 1 ? FLAG.ack : 0),
        generic(INET, 0),
        ...attributes,
      ),
    ),
    message(BATCH_END, 0, generic(0, SUBSYSTEM)),
  ]);
}

export function newTable(table: string): NftMessage {
  return { type: 'newTable', flags: FLAG.create, attributes: [textAttribute(1, table)] };
}

export function deleteTable(table: string): NftMessage {
  return { type: 'delTable', flags: 0, attributes: [textAttribute(1, table)] };
}

const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

export interface BaseChain {
  readonly name: string;
  readonly type: 'filter' | 'nat';
  readonly hook: keyof typeof HOOKS;
  readonly priority: number;
}

export function newChain(table: string, { name, type, hook, priority }: BaseChain): NftMessage {
  return {
    type: 'newChain',
    flags: FLAG.create,
    attributes: [
      textAttribute(1, table),
      textAttribute(3, name),
      nested(4, u32Attribute(1, HOOKS[hook]), u32Attribute(2, priority)),
      textAttribute(7, type),
    ],
  };
}

export function flushChain(table: string, chain: string): NftMessage {
  return { type: 'delRule', flags: 0, attributes: [textAttribute(1, table), textAttribute(2, chain)] };
}

const APPEND = 0x800;

export function newRule(table: string, chain: string, expressions: readonly Expression[]): NftMessage {
  return {
    type: 'newRule',
    flags: FLAG.create | APPEND,
    attributes: [textAttribute(1, table), textAttribute(2, chain), nested(4, ...expressions)],
  };
}

/** Data types of nft(8): numbers that it shows sets with, and bytes of a field. */
const FIELD = {
  ipv4_addr: { type: 7, size: 4 },
  ipv6_addr: { type: 8, size: 16 },
  inet_proto: { type: 12, size: 1 },
  inet_service: { type: 13, size: 2 },
  ifname: { type: 41, size: 16 },
} as const;
export type FieldName = keyof typeof FIELD;

const SET_FLAG = { interval: 4, map: 8, concat: 0x80 } as const;
const TYPE_BITS = 6;

/** User data of a set by which nft(8) knows how to print its keys: type 0, 4 bytes, host byte order. */
const HOST_BYTE_ORDER = Buffer.of(0, 4, 1, 0, 0, 0);

export interface SetShape {
  readonly name: string;
  readonly key: readonly FieldName[];
  readonly data?: readonly FieldName[];
  readonly interval?: boolean;
}

/** In registers and sets every field of a concatenation takes whole words. */
function paddedSize(fields: readonly FieldName[]): number {
  if (fields.length === 1) return fields.reduce((sum, field) => sum + FIELD[field].size, 0);
  return fields.reduce((sum, field) => sum + 4 * Math.ceil(FIELD[field].size / 4), 0);
}

function typeOf(fields: readonly FieldName[]): number {
  return fields.reduce((type, field) => (type << TYPE_BITS) | FIELD[field].type, 0);
}

export function newSet(table: string, set: SetShape, id: number): NftMessage {
  const { name, key, data, interval = false } = set;
  const isConcat = key.length > 1;
  const flags =
    (interval ? SET_FLAG.interval : 0) |
    (data === undefined ? 0 : SET_FLAG.map) |
    (isConcat && interval ? SET_FLAG.concat : 0);
  const fields = key.map((field) =>
    nested(LIST_ELEMENT, u32Attribute(1, 4 * Math.ceil(FIELD[field].size / 4))),
  );
  return {
    type: 'newSet',
    flags: FLAG.create,
    attributes: [
      textAttribute(1, table),
      textAttribute(2, name),
      u32Attribute(3, flags),
      u32Attribute(4, typeOf(key)),
      u32Attribute(5, paddedSize(key)),
      ...(data === undefined ? [] : [u32Attribute(6, typeOf(data)), u32Attribute(7, paddedSize(data))]),
      ...(isConcat && interval ? [nested(9, nested(2, ...fields))] : []),
      u32Attribute(10, id),
      ...(key.length === 1 && key[0] === 'ifname' ? [attribute(13, HOST_BYTE_ORDER)] : []),
    ],
  };
}

export interface Element {
  readonly key: readonly Uint8Array[];
  /** Of an interval in a concatenation. */
  readonly keyEnd?: readonly Uint8Array[];
  readonly data?: readonly Uint8Array[];
  /** It ends an interval of a set with a single field. */
  readonly isEnd?: boolean;
}

function concatenated(fields: readonly Uint8Array[]): Buffer {
  if (fields.length === 1) return Buffer.concat(fields);
  return Buffer.concat(
    fields.map((field) => Buffer.concat([field, Buffer.alloc((4 - (field.byteLength % 4)) % 4)])),
  );
}

function valueOf(type: number, fields: readonly Uint8Array[]): Buffer {
  return nested(type, attribute(DATA_VALUE, concatenated(fields)));
}

function elementAttribute({ key, keyEnd, data, isEnd }: Element): Buffer {
  return nested(
    LIST_ELEMENT,
    valueOf(1, key),
    ...(keyEnd === undefined ? [] : [valueOf(10, keyEnd)]),
    ...(data === undefined ? [] : [valueOf(2, data)]),
    ...(isEnd === true ? [u32Attribute(3, 1)] : []),
  );
}

export function changeElements(
  change: 'newElement' | 'delElement',
  table: string,
  set: string,
  elements: readonly Element[],
): NftMessage {
  return {
    type: change,
    flags: change === 'newElement' ? FLAG.create : 0,
    attributes: [
      textAttribute(1, table),
      textAttribute(2, set),
      nested(3, ...elements.map(elementAttribute)),
    ],
  };
}

export interface ForeignChain {
  /** NFPROTO_*. */
  readonly family: number;
  readonly table: string;
  readonly chain: string;
  /** Every forwarded packet goes through it, and its last word is drop. */
  readonly drops: boolean;
}

/** A request for all chains of all families. */
export function dumpChains(): Uint8Array {
  return message((SUBSYSTEM << 8) | TYPE.getChain, FLAG.dump, generic(0, 0));
}

export function readChains(datagrams: readonly Buffer[]): readonly ForeignChain[] {
  const found: ForeignChain[] = [];
  for (const { type, body } of readMessages(datagrams)) {
    if (type !== ((SUBSYSTEM << 8) | TYPE.newChain)) continue;
    const attributes = readAttributes(body.subarray(4));
    const hook = readAttributes(attributes.get(4) ?? Buffer.alloc(0)).get(1);
    const drops = hook?.readUInt32BE() === HOOKS.forward && attributes.get(5)?.readUInt32BE() === 0;
    found.push({
      family: body[0] ?? 0,
      table: textOf(attributes.get(1)),
      chain: textOf(attributes.get(3)),
      drops,
    });
  }
  return found;
}

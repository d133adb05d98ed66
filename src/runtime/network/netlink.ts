/**
 * Netlink messages as bytes: attributes, messages, and reading of what the kernel answers.
 *
 * Headers and lengths are in the machine's byte order (little-endian on what we support). linux/netlink.h.
 */

const ALIGN = 4;
const NLA_HEAD = 4;
const NLM_HEAD = 16;
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

export const FLAG = { request: 1, ack: 4, dump: 0x300, create: 0x400, excl: 0x200 } as const;

function padding(size: number): Buffer {
  return Buffer.alloc((ALIGN - (size % ALIGN)) % ALIGN);
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const head = Buffer.alloc(NLA_HEAD);
  head.writeUInt16LE(NLA_HEAD + value.byteLength, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value, padding(value.byteLength)]);
}

export function nested(type: number, ...attributes: readonly Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

export function textAttribute(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`, 'utf8'));
}

/** Big-endian, as netfilter wants its numbers. */
export function u32Attribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return attribute(type, bytes);
}

export function message(type: number, flags: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(NLM_HEAD);
  head.writeUInt32LE(NLM_HEAD + body.byteLength, 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(flags | FLAG.request, 6);
  head.writeUInt32LE(1, 8);
  return Buffer.concat([head, body]);
}

export interface Received {
  readonly type: number;
  readonly body: Buffer;
}

/** The messages of datagrams; what is cut short ends the reading. */
export function* readMessages(datagrams: readonly Buffer[]): Generator<Received> {
  for (const datagram of datagrams)
    for (let at = 0; at + NLM_HEAD <= datagram.byteLength; ) {
      const size = datagram.readUInt32LE(at);
      if (size < NLM_HEAD || at + size > datagram.byteLength) return;
      yield { type: datagram.readUInt16LE(at + 4), body: datagram.subarray(at + NLM_HEAD, at + size) };
      at += size + padding(size).byteLength;
    }
}

/** Attributes by type; of repeated ones the last. */
export function readAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + NLA_HEAD <= bytes.byteLength; ) {
    const size = bytes.readUInt16LE(at);
    if (size < NLA_HEAD || at + size > bytes.byteLength) break;
    found.set(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + NLA_HEAD, at + size));
    at += size + padding(size).byteLength;
  }
  return found;
}

/** Text of an attribute, without its NUL. */
export function textOf(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('utf8').replace(/\0.*$/s, '');
}

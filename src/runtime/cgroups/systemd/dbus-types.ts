/**
 * D-Bus values as bytes and back, as much of it as talking to systemd takes. Pure.
 *
 * Little-endian. Spec: D-Bus Specification 0.43, "Type System", "Marshaling (Wire Format)".
 */
import { TsbuildError } from '../../../base/errors.ts';

/** A variant says its own type. */
export interface Variant {
  readonly signature: string;
  readonly value: DBusValue;
}

export type DBusValue = string | number | bigint | boolean | Variant | readonly DBusValue[];

const MAX_DEPTH = 32;

const ALIGNMENT: Readonly<Record<string, number>> = {
  ...{ y: 1, g: 1, v: 1, n: 2, q: 2, b: 4, i: 4, u: 4, s: 4, o: 4, a: 4 },
  ...{ x: 8, t: 8, d: 8, '(': 8, '{': 8 },
};

/** The complete types of a signature: `sa(sv)` is `s` and `a(sv)`. Throws SPEC_INVALID. */
export function splitSignature(signature: string): readonly string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at, 0);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number, depth: number): number {
  const code = signature[at] ?? '';
  if (depth > MAX_DEPTH || ALIGNMENT[code] === undefined)
    throw malformed(`type ${JSON.stringify(signature)}`);
  if (code === 'a') return endOfType(signature, at + 1, depth + 1);
  if (code !== '(' && code !== '{') return at + 1;
  const close = code === '(' ? ')' : '}';
  let next = at + 1;
  // A structure of nothing would be read for ever.
  if (signature[next] === close) throw malformed(`type ${JSON.stringify(signature)}`);
  while (signature[next] !== close) next = endOfType(signature, next, depth + 1);
  return next + 1;
}

function malformed(what: string): TsbuildError {
  return new TsbuildError('SPEC_INVALID', `malformed D-Bus ${what}`);
}

/** `at`: where the bytes will lie, since alignment counts from a message's beginning. */
export function marshal(signature: string, values: readonly DBusValue[], at = 0): Buffer {
  const writer = new Writer(at);
  for (const [index, type] of splitSignature(signature).entries()) writer.write(type, values[index] ?? '');
  return writer.bytes();
}

class Writer {
  readonly #start: number;
  readonly #parts: Buffer[] = [];
  #at: number;

  constructor(at: number) {
    this.#start = at;
    this.#at = at;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts, this.#at - this.#start);
  }

  #add(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#at += bytes.byteLength;
  }

  #align(size: number): void {
    this.#add(Buffer.alloc((size - (this.#at % size)) % size));
  }

  write(type: string, value: DBusValue): void {
    const code = type[0] ?? '';
    this.#align(ALIGNMENT[code] ?? 1);
    switch (code) {
      case 'y':
        return this.#add(Buffer.of(Number(value)));
      case 'b':
        return this.#number((bytes) => bytes.writeUInt32LE(value === true ? 1 : 0), 4);
      case 'i':
        return this.#number((bytes) => bytes.writeInt32LE(Number(value)), 4);
      case 'u':
        return this.#number((bytes) => bytes.writeUInt32LE(Number(value)), 4);
      case 't':
        return this.#number((bytes) => bytes.writeBigUInt64LE(value as bigint), 8);
      case 's':
      case 'o':
        return this.#text(value as string);
      case 'g':
        return this.#signature(value as string);
      case 'v': {
        const { signature, value: inner } = value as Variant;
        this.write('g', signature);
        return this.write(signature, inner);
      }
      case 'a':
        return this.#array(type.slice(1), value as readonly DBusValue[]);
      case '(':
      case '{':
        for (const [index, each] of splitSignature(type.slice(1, -1)).entries())
          this.write(each, (value as readonly DBusValue[])[index] ?? '');
        return undefined;
    }
    throw malformed(`type ${JSON.stringify(type)}`);
  }

  #number(write: (bytes: Buffer) => void, size: number): void {
    const bytes = Buffer.alloc(size);
    write(bytes);
    this.#add(bytes);
  }

  #signature(text: string): void {
    this.#add(Buffer.concat([Buffer.of(text.length), Buffer.from(`${text}\0`, 'latin1')]));
  }

  #text(text: string): void {
    if (text.includes('\0')) throw malformed('string');
    const bytes = Buffer.from(`${text}\0`);
    this.#number((head) => head.writeUInt32LE(bytes.byteLength - 1), 4);
    this.#add(bytes);
  }

  #array(type: string, values: readonly DBusValue[]): void {
    const length = Buffer.alloc(4);
    this.#add(length);
    this.#align(ALIGNMENT[type[0] ?? ''] ?? 1);
    const begin = this.#at;
    for (const each of values) this.write(type, each);
    length.writeUInt32LE(this.#at - begin);
  }
}

/** Throws SPEC_INVALID for bytes that are none of this. */
export function unmarshal(signature: string, bytes: Buffer, at = 0): readonly DBusValue[] {
  const reader = new Reader(bytes, at);
  return splitSignature(signature).map((type) => reader.read(type, 0));
}

class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  #take(size: number): Buffer {
    const end = this.#at + size;
    if (end > this.#bytes.byteLength) throw malformed('message: it ends too soon');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  read(type: string, depth: number): DBusValue {
    const code = type[0] ?? '';
    const size = ALIGNMENT[code] ?? 1;
    if (depth > MAX_DEPTH) throw malformed('message: it is nested too deeply');
    this.#at += (size - (this.#at % size)) % size;
    switch (code) {
      case 'y':
        return this.#take(1).readUInt8();
      case 'b':
        return this.#take(4).readUInt32LE() === 1;
      case 'n':
        return this.#take(2).readInt16LE();
      case 'q':
        return this.#take(2).readUInt16LE();
      case 'i':
        return this.#take(4).readInt32LE();
      case 'u':
        return this.#take(4).readUInt32LE();
      case 'x':
        return this.#take(8).readBigInt64LE();
      case 't':
        return this.#take(8).readBigUInt64LE();
      case 'd':
        return this.#take(8).readDoubleLE();
      case 's':
      case 'o':
        return this.#text(this.#take(4).readUInt32LE());
      case 'g':
        return this.#text(this.#take(1).readUInt8());
      case 'v': {
        const signature = this.#text(this.#take(1).readUInt8());
        return { signature, value: this.read(signature, depth + 1) };
      }
      case 'a':
        return this.#array(type.slice(1), depth);
      case '(':
      case '{':
        return splitSignature(type.slice(1, -1)).map((each) => this.read(each, depth + 1));
    }
    throw malformed(`type ${JSON.stringify(type)}`);
  }

  #text(length: number): string {
    return this.#take(length + 1).toString('utf8', 0, length);
  }

  #array(type: string, depth: number): readonly DBusValue[] {
    const length = this.#take(4).readUInt32LE();
    const size = ALIGNMENT[type[0] ?? ''] ?? 1;
    this.#at += (size - (this.#at % size)) % size;
    const end = this.#at + length;
    if (end > this.#bytes.byteLength) throw malformed('message: it ends too soon');
    const values: DBusValue[] = [];
    while (this.#at < end) values.push(this.read(type, depth + 1));
    return values;
  }
}

/** D-Bus messages: calls out, replies and errors in. Pure. Spec: D-Bus Specification 0.43, "Message Protocol". */
import { TsbuildError } from '../../../base/errors.ts';
import { marshal, unmarshal, type DBusValue, type Variant } from './dbus-types.ts';

export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
  readonly arguments: readonly DBusValue[];
}

export interface IncomingMessage {
  readonly kind: 'return' | 'error' | 'other';
  readonly replyTo: number | undefined;
  readonly errorName: string | undefined;
  readonly body: readonly DBusValue[];
}

const METHOD_CALL = 1;
const METHOD_RETURN = 2;
const ERROR = 3;
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  errorName: 4,
  replySerial: 5,
  destination: 6,
  signature: 8,
} as const;
const MAX_MESSAGE = 16 << 20;
const FIXED = 12;

/** `destination` empty: the other side is systemd itself, without a bus between. */
export function encodeCall(call: MethodCall, serial: number): Buffer {
  const body = marshal(call.signature, call.arguments);
  const field = (code: number, signature: string, value: string): DBusValue => [code, { signature, value }];
  const fields: DBusValue[] = [
    field(FIELD.path, 'o', call.path),
    field(FIELD.interface, 's', call.interface),
    field(FIELD.member, 's', call.member),
    ...(call.destination === '' ? [] : [field(FIELD.destination, 's', call.destination)]),
    ...(call.signature === '' ? [] : [field(FIELD.signature, 'g', call.signature)]),
  ];
  const fixed = [0x6c, METHOD_CALL, 0, 1, body.byteLength, serial];
  const head = marshal('yyyyuua(yv)', [...fixed, fields]);
  return Buffer.concat([head, Buffer.alloc((8 - (head.byteLength % 8)) % 8), body]);
}

/** Size of the message that begins these bytes; undefined while that cannot be said. Throws SPEC_INVALID. */
export function messageSize(bytes: Buffer): number | undefined {
  if (bytes.byteLength < FIXED + 4) return undefined;
  // Every reply of a machine comes in the order of its processor, which is ours.
  if (bytes[0] !== 0x6c || bytes[3] !== 1) throw new TsbuildError('SPEC_INVALID', 'malformed D-Bus message');
  const fields = bytes.readUInt32LE(FIXED);
  const head = FIXED + 4 + fields;
  const size = head + ((8 - (head % 8)) % 8) + bytes.readUInt32LE(4);
  if (size > MAX_MESSAGE) throw new TsbuildError('SPEC_INVALID', 'a D-Bus message is too large');
  return size;
}

/** One complete message. Throws SPEC_INVALID. */
export function decodeMessage(bytes: Buffer): IncomingMessage {
  const [, type, , , bodySize, , fields] = unmarshal('yyyyuua(yv)', bytes) as [
    number,
    number,
    number,
    number,
    number,
    number,
    readonly (readonly [number, Variant])[],
  ];
  const value = (code: number): DBusValue | undefined => fields.find(([each]) => each === code)?.[1].value;
  const signature = value(FIELD.signature);
  const replyTo = value(FIELD.replySerial);
  const errorName = value(FIELD.errorName);
  const body = bytes.subarray(bytes.byteLength - bodySize);
  return {
    kind: type === METHOD_RETURN ? 'return' : type === ERROR ? 'error' : 'other',
    replyTo: typeof replyTo === 'number' ? replyTo : undefined,
    errorName: typeof errorName === 'string' ? errorName : undefined,
    body: typeof signature === 'string' && type !== METHOD_CALL ? unmarshal(signature, body) : [],
  };
}

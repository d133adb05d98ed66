/** A connection to systemd: over the system bus, or straight to its private socket where there is no bus. */
import { connect, type Socket } from 'node:net';
import { TsbuildError } from '../../../base/errors.ts';
import { decodeMessage, encodeCall, messageSize, type MethodCall } from './dbus-message.ts';
import type { DBusValue } from './dbus-types.ts';

export interface BusConnection extends Disposable {
  /** Body of the reply. Throws SYSTEMD_FAILED, with the error's name in its message. */
  call(call: Omit<MethodCall, 'destination'>): Promise<readonly DBusValue[]>;
}

interface Waiting {
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
}

const SYSTEMD = 'org.freedesktop.systemd1';
const CALL_TIMEOUT_MS = 30_000;
/** The bus first: the private socket is for systemd's own tools, but the only one in early boot and containers. */
const SOCKETS = [
  { path: '/run/dbus/system_bus_socket', isBus: true },
  { path: '/run/systemd/private', isBus: false },
] as const;

/** Throws SYSTEMD_FAILED where there is no systemd to talk to. */
export async function connectSystemd(): Promise<BusConnection> {
  const failures: string[] = [];
  for (const { path, isBus } of SOCKETS)
    try {
      return await open(path, isBus);
    } catch (error) {
      failures.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  throw new TsbuildError('SYSTEMD_FAILED', `cannot talk to systemd (${failures.join('; ')})`, {
    hint: 'use the driver cgroupfs where systemd is not the init',
  });
}

async function open(path: string, isBus: boolean): Promise<BusConnection> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  try {
    await authenticate(socket);
    const connection = attend(socket, isBus ? SYSTEMD : '');
    if (isBus) await connection.callBus();
    return connection;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/**
 * SASL EXTERNAL: the kernel tells who we are.
 *
 * why BEGIN at once, as sd-bus sends it: systemd's side of its private socket waits for more before it looks at a call
 * that it read together with BEGIN, so a call must not be written until BEGIN has been read. OK says so.
 */
async function authenticate(socket: Socket): Promise<void> {
  const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
  socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
  const answer = await new Promise<string>((resolve, reject) => {
    const fail = (): void => reject(new Error('no answer while it authenticated'));
    const timer = setTimeout(fail, CALL_TIMEOUT_MS);
    socket.once('close', fail);
    socket.once('data', (data) => {
      clearTimeout(timer);
      socket.off('close', fail);
      resolve(data.toString('latin1'));
    });
  });
  if (!answer.startsWith('OK ')) throw new Error(`refused: ${answer.trim().slice(0, 80)}`);
}

function attend(socket: Socket, destination: string): BusConnection & { callBus(): Promise<unknown> } {
  const waiting = new Map<number, Waiting>();
  let received = Buffer.alloc(0);
  let serial = 0;
  const lose = (error: unknown): void => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    socket.destroy();
  };
  const deliver = (message: ReturnType<typeof decodeMessage>): void => {
    const call = message.replyTo === undefined ? undefined : waiting.get(message.replyTo);
    if (message.replyTo === undefined || call === undefined || message.kind === 'other') return;
    waiting.delete(message.replyTo);
    if (message.kind === 'return') call.resolve(message.body);
    else call.reject(refusal(message.errorName ?? 'error', message.body));
  };
  socket.on('data', (data) => {
    received = Buffer.concat([received, data]);
    try {
      for (let size = messageSize(received); size !== undefined && size <= received.byteLength; ) {
        deliver(decodeMessage(received.subarray(0, size)));
        received = received.subarray(size);
        size = messageSize(received);
      }
    } catch (error) {
      lose(error);
    }
  });
  socket.on('error', lose);
  socket.on('close', () => lose(new TsbuildError('SYSTEMD_FAILED', 'systemd closed the connection')));

  function send(call: MethodCall): Promise<readonly DBusValue[]> {
    serial += 1;
    const own = serial;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => lose(new TsbuildError('SYSTEMD_FAILED', `systemd does not answer ${call.member}`)),
        CALL_TIMEOUT_MS,
      );
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          settle(value);
        };
      waiting.set(own, { resolve: settled(resolve), reject: settled(reject) });
      socket.write(encodeCall(call, own));
    });
  }

  const bus = 'org.freedesktop.DBus';
  return {
    call: (call) => send({ ...call, destination }),
    callBus: () =>
      send({
        destination: bus,
        path: '/org/freedesktop/DBus',
        interface: bus,
        member: 'Hello',
        signature: '',
        arguments: [],
      }),
    [Symbol.dispose]: () => socket.destroy(),
  };
}

function refusal(name: string, body: readonly DBusValue[]): TsbuildError {
  const [text] = body;
  return new TsbuildError(
    'SYSTEMD_FAILED',
    `systemd refused: ${typeof text === 'string' ? text : ''} (${name})`,
  );
}

/** The launcher's `net` call: a list of network operations done by one short-lived process. */
import { encodeNetOps, type NetOp } from './net-plan.ts';
import { startProgram } from './program.ts';

const DATA = 11;
const ERROR = 14;
const HEAD = 12;

/** What stopped a list: the operation, its errno, the interface or path that it was about. */
export interface NetProblem {
  readonly op: NetOp | undefined;
  readonly errno: number;
  readonly text: string;
}

export type NetResult =
  /** Datagrams of the dumps, by index of their operation. */
  | {
      readonly kind: 'done';
      readonly answers: ReadonlyMap<number, readonly Buffer[]>;
      /** Path of an unpinned namespace that the list made, where its launcher lives on. */
      readonly namespace?: string;
    }
  | { readonly kind: 'failed'; readonly problem: NetProblem }
  | { readonly kind: 'lost'; readonly reason: string };

export type NetCall = (ops: readonly NetOp[]) => Promise<NetResult>;

/** Operations before a failed one stay done; the caller undoes them. */
export function createNetCall(launcher: string): NetCall {
  return async (ops) => {
    const chunks: Buffer[] = [];
    try {
      const { socket, ended } = startProgram(launcher, [launcher, 'net'], { fds: ['socket', 'socket', 2] });
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.end(encodeNetOps(ops));
      const how = await ended;
      return resultOf(ops, Buffer.concat(chunks), how);
    } catch (error) {
      return { kind: 'lost', reason: error instanceof Error ? error.message : String(error) };
    }
  };
}

function resultOf(ops: readonly NetOp[], output: Buffer, ended: string | undefined): NetResult {
  const answers = new Map<number, Buffer[]>();
  for (let at = 0; at + HEAD <= output.byteLength; ) {
    const length = output.readUInt32LE(at);
    const type = output.readUInt32LE(at + 4);
    const id = output.readUInt32LE(at + 8);
    const payload = output.subarray(at + HEAD, at + HEAD + length);
    if (type === ERROR) return { kind: 'failed', problem: problemOf(ops, payload) };
    if (type === DATA) answers.set(id, [...(answers.get(id) ?? []), payload]);
    at += HEAD + length;
  }
  return ended === undefined ? { kind: 'done', answers } : { kind: 'lost', reason: `it ended with ${ended}` };
}

/** Of an ERROR frame of the launcher. */
export function problemOf(ops: readonly NetOp[], payload: Buffer): NetProblem {
  return {
    op: ops[payload.readUInt32LE(0)],
    errno: payload.readUInt32LE(4),
    text: payload.toString('utf8', 8),
  };
}

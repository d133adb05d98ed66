/**
 * An ssh agent inside a step: a socket of its own, with the owner and mode that the mount wants, whose connections
 * are handed on to the user's agent. The agent's own socket never appears in a container.
 */
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ioError } from '../../base/errors.ts';

export interface AgentSocket extends AsyncDisposable {
  /** Of the socket, on the host. */
  readonly path: string;
}

export interface AgentSocketOptions {
  /** New; goes away with the socket. */
  readonly directory: string;
  /** The user's agent. */
  readonly agent: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** Throws IO_FAILED. */
export async function openAgentSocket(options: AgentSocketOptions): Promise<AgentSocket> {
  const { directory, agent, uid, gid, mode } = options;
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (inner) => {
    const outer = connect({ path: agent, allowHalfOpen: true });
    for (const socket of [inner, outer]) {
      connections.add(socket);
      socket.on('close', () => connections.delete(socket));
    }
    inner.on('error', () => outer.destroy());
    outer.on('error', () => inner.destroy());
    inner.pipe(outer).pipe(inner);
  });
  // why: the name of a socket has at most 107 bytes; through the descriptor of its directory it is always short.
  const fd = openSync(directory, 'r');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${fd}/agent`, resolve);
    });
    const path = join(directory, 'agent');
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    return {
      path,
      async [Symbol.asyncDispose]() {
        for (const socket of connections) socket.destroy();
        await new Promise<void>((resolve) => void server.close(() => resolve()));
        rmSync(directory, { recursive: true, force: true });
      },
    };
  } catch (error) {
    server.close();
    rmSync(directory, { recursive: true, force: true });
    throw ioError('make a socket for the ssh agent', error);
  } finally {
    closeSync(fd);
  }
}

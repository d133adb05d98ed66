/** The caller's terminal, streams and signals, joined to a container's for as long as it is attached. */
import { constants } from 'node:os';
import type { MonitorConnection } from '../../../../native/monitor.ts';
import { makeTerminalRaw } from '../../../../native/sys.ts';
import type { Session } from '../../session.ts';
import { createDetachFilter } from './detach-keys.ts';

export interface StreamOptions {
  /** The container has a terminal. */
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly signals: boolean;
  readonly detachKeys: Uint8Array;
}

export interface AttachedStreams {
  readonly output: (stream: 'stdout' | 'stderr', data: Uint8Array) => void;
  /** From now on what is typed and which signals come go there. */
  join(connection: MonitorConnection): void;
  /** Resolves when the detach keys were typed. */
  readonly detached: Promise<'detached'>;
  /** Resolves when nobody reads the output any more. */
  readonly broken: Promise<'broken'>;
  /** Resolves when a signal came that is not the container's. */
  readonly interrupted: Promise<'interrupted'>;
  /** The terminal is as it was. Idempotent. */
  leave(): void;
}

/** Of the caller's terminal; undefined where it has none. */
export function terminalSize({
  stdout,
}: Session): { readonly rows: number; readonly columns: number } | undefined {
  return stdout.isTTY ? { rows: stdout.rows, columns: stdout.columns } : undefined;
}

export function attachStreams(session: Session, options: StreamOptions): AttachedStreams {
  const early: NodeJS.Signals[] = [];
  let connection: MonitorConnection | undefined;
  let settleDetached: (value: 'detached') => void = () => undefined;
  let settleBroken: (value: 'broken') => void = () => undefined;
  const detached = new Promise<'detached'>((resolve) => (settleDetached = resolve));
  const broken = new Promise<'broken'>((resolve) => (settleBroken = resolve));
  const interrupted = new Promise<'interrupted'>((resolve) => {
    const tell = (): void => resolve('interrupted');
    if (session.signal.aborted) tell();
    else session.signal.addEventListener('abort', tell, { once: true });
  });
  const send = (signal: NodeJS.Signals): void => {
    // A signal that comes before the program runs is kept for it.
    if (connection === undefined) early.push(signal);
    else void connection.kill(constants.signals[signal]).catch(() => 0);
  };
  if (options.signals) session.onSignal(send);
  session.onBrokenOutput(() => settleBroken('broken'));
  let leaveInput: (() => void) | undefined;
  // why: before the program starts, so that its first output is not altered.
  let restore = options.terminal && options.stdin && session.stdin.isTTY ? makeTerminalRaw(0) : undefined;
  const resize = (): void => {
    const size = terminalSize(session);
    if (size !== undefined) connection?.resize(size.rows, size.columns);
  };
  return {
    detached,
    broken,
    interrupted,
    output: (stream, data) => void session[stream].write(data),
    join(joined) {
      connection = joined;
      for (const signal of early.splice(0)) send(signal);
      if (options.terminal) {
        resize();
        session.stdout.on('resize', resize);
      }
      if (options.stdin) leaveInput = joinInput(session, options, joined, () => settleDetached('detached'));
    },
    leave() {
      leaveInput?.();
      leaveInput = undefined;
      restore?.();
      restore = undefined;
      if (options.terminal) session.stdout.off('resize', resize);
      if (options.signals) session.onSignal(undefined);
    },
  };
}

function joinInput(
  { stdin }: Session,
  { terminal, detachKeys }: StreamOptions,
  connection: MonitorConnection,
  onDetach: () => void,
): () => void {
  const filter = createDetachFilter(terminal ? detachKeys : Uint8Array.of());
  const take = (data: Buffer): void => {
    stdin.pause();
    void connection
      .input(filter.pass(data))
      .then(() => (filter.isDetached ? onDetach() : stdin.resume()))
      .catch(() => undefined);
  };
  const end = (): void => connection.endInput();
  stdin.on('data', take);
  stdin.once('end', end);
  stdin.once('error', end);
  return () => {
    stdin.off('data', take);
    stdin.off('end', end);
    stdin.off('error', end);
    stdin.destroy();
  };
}

/** `tsbuild run` and `create`: exit codes as docker's: the container's own, or 125 (not started), 126, 127. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import { createContainer } from '../../engine/containers/create.ts';
import type { CreateRequest } from '../../engine/containers/request.ts';
import type { StartedContainer } from '../../engine/containers/start.ts';
import { beginRun, endRun, type RunOptions } from '../../engine/run.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Session } from '../session.ts';
import { parseDetachKeys } from './containers/detach-keys.ts';
import { followContainer, memoryWarning, withRunExitCode } from './containers/follow.ts';
import { attachStreams, terminalSize, type AttachedStreams } from './containers/streams.ts';
import { readCreateRequest } from './create-request.ts';
import { badFlags } from './run-flags/bad-flag.ts';

export async function runCreate(flags: ParsedFlags, session: Session): Promise<number> {
  using idFile = openIdFile(flags.text('cidfile'));
  const renderer = createRenderer(flags, session);
  try {
    const stdin = flags.boolean('interactive');
    const request = readCreateRequest(flags, session, { attached: { stdin } });
    warnOfPorts(request, session);
    const { sink, signal } = { sink: renderer, signal: session.signal };
    const container = await createContainer(session.engine(), request, { sink, signal });
    idFile.write(container.id);
    renderer.end();
    session.stdout.write(`${container.id}\n`);
    return 0;
  } catch (error) {
    throw withRunExitCode(error);
  } finally {
    renderer.end();
  }
}

export async function runRun(flags: ParsedFlags, session: Session): Promise<number> {
  try {
    return flags.boolean('detach') ? await runDetached(flags, session) : await runAttached(flags, session);
  } catch (error) {
    throw withRunExitCode(error);
  }
}

async function runDetached(flags: ParsedFlags, session: Session): Promise<number> {
  if (flags.list('attach').length > 0) throw badFlags('conflicting options: -a and -d');
  using idFile = openIdFile(flags.text('cidfile'));
  const request = readCreateRequest(flags, session, { attached: undefined });
  const { started, container } = await begin(flags, session, request, idFile, {
    attached: { stdin: false, stdout: false, stderr: false },
  });
  await started.detach();
  session.stdout.write(`${container.id}\n`);
  return 0;
}

async function runAttached(flags: ParsedFlags, session: Session): Promise<number> {
  using idFile = openIdFile(flags.text('cidfile'));
  const attached = attachedStreams(flags);
  const request = readCreateRequest(flags, session, { attached });
  requireTerminal(request, session);
  const streams = attachStreams(session, {
    terminal: request.terminal,
    stdin: attached.stdin,
    signals: flags.boolean('sig-proxy') && !request.terminal,
    detachKeys: parseDetachKeys(flags.text('detach-keys')),
  });
  try {
    const size = request.terminal ? terminalSize(session) : undefined;
    const { started, container } = await begin(flags, session, request, idFile, {
      attached,
      onOutput: streams.output,
      ...(size === undefined ? {} : { size }),
    });
    return await follow(session, streams, started, container);
  } finally {
    streams.leave();
  }
}

async function follow(
  session: Session,
  streams: AttachedStreams,
  started: StartedContainer,
  container: StoredContainer,
): Promise<number> {
  streams.join(started.connection);
  const outcome = await followContainer(started.ended, streams);
  if (outcome.kind === 'left') {
    await started.detach();
    return outcome.code;
  }
  const memory = await endRun(session.engine(), container, started, outcome.end);
  if (memory !== undefined) session.stderr.write(memoryWarning(memory, outcome.end));
  return outcome.end.exitCode;
}

function warnOfPorts({ network, ports, publishAll }: CreateRequest, { stderr }: Session): void {
  if (network.kind === 'host' && (ports.length > 0 || publishAll))
    stderr.write('warning: published ports are discarded when using host network mode\n');
}

async function begin(
  flags: ParsedFlags,
  session: Session,
  request: CreateRequest,
  idFile: IdFile,
  options: Pick<RunOptions, 'attached' | 'onOutput' | 'size'>,
): ReturnType<typeof beginRun> {
  warnOfPorts(request, session);
  const renderer = createRenderer(flags, session);
  try {
    return await beginRun(session.engine(), request, {
      ...options,
      sink: renderer,
      signal: session.signal,
      onWarning: (message) => session.stderr.write(`warning: ${message}\n`),
      onCreated(container) {
        idFile.write(container.id);
        // From here on the terminal is the container's.
        renderer.end();
      },
    });
  } finally {
    renderer.end();
  }
}

/** `-a` names the streams; without it they are all attached, input only with -i. */
function attachedStreams(flags: ParsedFlags): RunOptions['attached'] {
  const named = flags.list('attach').map((each) => each.toLowerCase());
  const unknown = named.find((each) => !['stdin', 'stdout', 'stderr'].includes(each));
  if (unknown !== undefined)
    throw badFlags(`invalid stream ${JSON.stringify(unknown)} for --attach`, 'use stdin, stdout or stderr');
  const isAll = named.length === 0;
  return {
    stdin: isAll ? flags.boolean('interactive') : named.includes('stdin'),
    stdout: isAll || named.includes('stdout'),
    stderr: isAll || named.includes('stderr'),
  };
}

function requireTerminal({ terminal, stdin }: CreateRequest, session: Session): void {
  if (!terminal || stdin === 'closed' || session.stdin.isTTY) return;
  throw new TsbuildError('USAGE', 'the input device is not a TTY', {
    hint: 'leave out -t, or give a terminal',
    exitCode: 125,
  });
}

interface IdFile extends Disposable {
  write(id: string): void;
}

/** As docker: the file must be new, and stays only where a container came into being. */
function openIdFile(path: string | undefined): IdFile {
  if (path === undefined) return { write: () => undefined, [Symbol.dispose]: () => undefined };
  let fd: number;
  try {
    fd = openSync(path, 'wx', 0o644);
  } catch (error) {
    throw new TsbuildError('USAGE', `cannot create the container ID file ${JSON.stringify(path)}`, {
      cause: error,
      hint: 'name a file that does not exist',
      exitCode: 125,
    });
  }
  let isWritten = false;
  return {
    write(id) {
      writeSync(fd, id);
      isWritten = true;
    },
    [Symbol.dispose]() {
      closeSync(fd);
      if (!isWritten) rmSync(path, { force: true });
    },
  };
}

/**
 * `tsbuild exec`. Exit codes as docker's: the program's own, 126 or 127 where it cannot be run (as that user,
 * in that directory), 1 where nothing runs.
 *
 * The program is the container's: it goes on when this command is killed, interrupted, or left by the detach keys.
 */
import { isTsbuildError, TsbuildError, type ErrorCode } from '../../../base/errors.ts';
import { execDetached, execInContainer, type ExecRequest } from '../../../engine/containers/exec.ts';
import type { ParsedFlags } from '../../flags.ts';
import { BROKEN_PIPE } from '../../output.ts';
import type { Session } from '../../session.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { parseEnvironment } from '../run-flags/environment.ts';
import { fileReader } from '../run-flags/isolation.ts';

export async function runExec(flags: ParsedFlags, session: Session): Promise<number> {
  try {
    return await exec(flags, session);
  } catch (error) {
    throw isTsbuildError(error, 'USER_NOT_FOUND') || isTsbuildError(error, 'CONTAINER_START_FAILED')
      ? notRun(error.code, error.message, error.hint)
      : error;
  }
}

function notRun(code: ErrorCode, message: string, hint?: string): TsbuildError {
  return new TsbuildError(code, message, { exitCode: 126, ...(hint === undefined ? {} : { hint }) });
}

async function exec(flags: ParsedFlags, session: Session): Promise<number> {
  const request = readRequest(flags, session);
  if (flags.boolean('detach')) {
    await execDetached(session.engine(), request, session.signal);
    return 0;
  }
  const input = flags.boolean('interactive');
  if (request.terminal && input && !session.stdin.isTTY)
    throw new TsbuildError('USAGE', 'the input device is not a TTY', {
      hint: 'leave out -t, or give a terminal',
    });
  const keys = parseDetachKeys(flags.text('detach-keys'));
  let left: (why: 'keys' | 'unread') => void = () => undefined;
  const leaving = new Promise<'keys' | 'unread'>((resolve) => (left = resolve));
  await using running = await execInContainer(
    session.engine(),
    request,
    request.terminal
      ? { kind: 'terminal', leave: { keys, left }, ...(input ? {} : { streams: 'output' }) }
      : { kind: 'inherit', input },
    {
      signal: session.signal,
      onWarning: (message) => session.stderr.write(`warning: ${message}\n`),
    },
  );
  const status = await Promise.race([running.exited, leaving]);
  if (status === 'unread') return BROKEN_PIPE;
  if (status === 'keys') {
    session.stderr.write('read escape sequence\n');
    return 0;
  }
  return status.kind === 'exited' ? status.code : 128 + status.signal;
}

function readRequest(flags: ParsedFlags, { cwd, env }: Session): ExecRequest {
  const [container = '', ...command] = flags.words;
  const [user, workdir] = [flags.text('user'), flags.text('workdir')];
  if (workdir !== undefined && !workdir.startsWith('/'))
    throw notRun('USAGE', `the working directory '${workdir}' is invalid, it needs to be an absolute path`);
  return {
    container,
    command,
    env: parseEnvironment({ files: flags.list('env-file'), values: flags.list('env') }, env, fileReader(cwd)),
    terminal: flags.boolean('tty'),
    privileged: flags.boolean('privileged'),
    ...(user === undefined ? {} : { user }),
    ...(workdir === undefined ? {} : { workdir }),
  };
}

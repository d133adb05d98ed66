/** `tsbuild run`: exit codes as docker's: the container's own, or 125 (not started), 126, 127. */
import { availableParallelism } from 'node:os';
import { TsbuildError } from '../../base/errors.ts';
import { runImage, type RunRequest } from '../../engine/run.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { Signal, Stdio } from '../../runtime/runtime.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Session } from '../session.ts';
import { checkHost } from './build.ts';
import { parseEnvironment } from './run-flags/environment.ts';
import { fileReader, readIsolation } from './run-flags/isolation.ts';

export async function runRun(flags: ParsedFlags, session: Session): Promise<number> {
  const request = readRequest(flags, session);
  const renderer = createRenderer(flags, session);
  let kill: ((signal: Signal) => void) | undefined;
  const early: Signal[] = [];
  // A signal that comes before the program runs is kept for it.
  session.onSignal((signal) => (kill === undefined ? early.push(signal) : kill(signal)));
  try {
    const status = await runImage(session.engine(), request, {
      sink: renderer,
      signal: session.signal,
      onWarning: (message) => session.stderr.write(`warning: ${message}\n`),
      onStarted(container) {
        // From here on the terminal is the container's.
        renderer.end();
        kill = (signal) => container.kill(signal);
        for (const signal of early) container.kill(signal);
      },
    });
    return status.kind === 'exited' ? status.code : 128 + status.signal;
  } catch (error) {
    throw asRunError(error);
  } finally {
    session.onSignal(undefined);
    renderer.end();
  }
}

/** Whatever keeps the program from starting is 125, but for what the program's own file causes. */
function asRunError(error: unknown): unknown {
  if (!(error instanceof TsbuildError) || error.exitCode !== undefined || error.code === 'ABORTED')
    return error;
  return new TsbuildError(error.code, error.message, {
    exitCode: 125,
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}

function readRequest(flags: ParsedFlags, session: Session): RunRequest {
  const { cwd, env, stdin } = session;
  const [image = '', ...command] = flags.words;
  const terminal = flags.boolean('tty');
  if (terminal && flags.boolean('interactive') && !stdin.isTTY)
    throw new TsbuildError('USAGE', 'the input device is not a TTY', {
      hint: 'leave out -t, or give a terminal',
      exitCode: 125,
    });
  const network = flags.text('network') ?? 'host';
  if (network !== 'host' && network !== 'none')
    throw new TsbuildError('USAGE', `invalid --network ${JSON.stringify(network)}`, {
      hint: 'use host or none',
      exitCode: 125,
    });
  const stdio: Stdio = terminal
    ? { kind: 'terminal' }
    : { kind: 'inherit', input: flags.boolean('interactive') };
  const text = <K extends string>(flag: string, key: K): { readonly [P in K]?: string } => {
    const value = flags.text(flag);
    return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: string };
  };
  const entrypoint = flags.text('entrypoint');
  const platform = flags.text('platform');
  const pull = flags.text('pull') ?? 'missing';
  if (pull !== 'always' && pull !== 'missing' && pull !== 'never')
    throw new TsbuildError('USAGE', `invalid --pull ${JSON.stringify(pull)}`, {
      hint: 'use always, missing or never',
    });
  return {
    image,
    command,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
    env: parseEnvironment({ files: flags.list('env-file'), values: flags.list('env') }, env, fileReader(cwd)),
    ...text('workdir', 'workdir'),
    ...text('user', 'user'),
    network,
    terminal,
    stdio,
    extraHosts: flags.list('add-host').map(checkHost),
    isolation: readIsolation(flags, { cwd, cpus: availableParallelism() }),
    pull,
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
  };
}

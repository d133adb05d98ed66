/** `tsbuild run`: exit codes as docker's: the container's own, or 125 (not started), 126, 127. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { runImage, type RunRequest } from '../../engine/run.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { adjustCapabilities } from '../../runtime/capabilities.ts';
import type { ContainerMount, Signal, Stdio } from '../../runtime/runtime.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Session } from '../session.ts';
import { checkHost } from './build.ts';

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
  const changesCapabilities = flags.has('cap-add') || flags.has('cap-drop');
  return {
    image,
    command,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
    env: [
      ...flags.list('env-file').flatMap((file) => readEnvFile(resolve(cwd, file), file, env)),
      ...flags.list('env').flatMap((each) => envEntry(each, env)),
    ],
    ...text('workdir', 'workdir'),
    ...text('user', 'user'),
    ...text('hostname', 'hostname'),
    network,
    terminal,
    stdio,
    volumes: [
      ...flags.list('volume').map((each) => parseVolume(each, cwd)),
      ...flags.list('tmpfs').map(parseTmpfs),
    ],
    extraHosts: flags.list('add-host').map(checkHost),
    readonlyRoot: flags.boolean('read-only'),
    privileged: flags.boolean('privileged'),
    ...(changesCapabilities
      ? { capabilities: adjustCapabilities(flags.list('cap-add'), flags.list('cap-drop')) }
      : {}),
    pull,
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
  };
}

function envEntry(text: string, env: Session['env']): readonly string[] {
  if (text.includes('=')) return [text];
  const value = env[text];
  return value === undefined ? [] : [`${text}=${value}`];
}

function readEnvFile(path: string, shown: string, env: Session['env']): readonly string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new TsbuildError('USAGE', `cannot read --env-file ${JSON.stringify(shown)}`, {
      cause: error,
      exitCode: 125,
    });
  }
  return text
    .split('\n')
    .map((line) => line.trimStart().replace(/\r$/, ''))
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap((line) => envEntry(line, env));
}

function parseVolume(text: string, cwd: string): ContainerMount {
  const [source = '', target = '', options = ''] = text.split(':');
  const fail = (message: string, hint: string): TsbuildError =>
    new TsbuildError('USAGE', `invalid --volume ${JSON.stringify(text)}: ${message}`, {
      hint,
      exitCode: 125,
    });
  if (target === '' || !target.startsWith('/'))
    throw fail('the destination is not an absolute path', 'write SRC:DST[:ro]');
  if (!/^[./~]/.test(source)) throw fail('named volumes are not supported yet', 'begin a path with / or ./');
  const known = new Set(['', 'ro', 'rw', 'z', 'Z']);
  const unknown = options.split(',').find((option) => !known.has(option));
  if (unknown !== undefined) throw fail(`unknown option ${JSON.stringify(unknown)}`, 'use ro or rw');
  const path = resolve(cwd, source);
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw fail(`there is no ${JSON.stringify(source)}`, 'create it first');
  return { kind: 'bind', source: path, target, readonly: options.split(',').includes('ro'), recursive: true };
}

function parseTmpfs(text: string): ContainerMount {
  const [target = '', options = ''] = text.split(':');
  if (!target.startsWith('/'))
    throw new TsbuildError('USAGE', `invalid --tmpfs ${JSON.stringify(text)}`, {
      hint: 'write an absolute path',
      exitCode: 125,
    });
  const size = /(?:^|,)size=(\d+)([kmg]?)/i.exec(options);
  const power = ['', 'k', 'm', 'g'].indexOf((size?.[2] ?? '').toLowerCase());
  return {
    kind: 'tmpfs',
    target,
    mode: 0o1777,
    ...(size === null ? {} : { size: Number(size[1]) * 1024 ** power }),
  };
}

/** Hooks that run on the host after the program started or ended (poststart, poststop): by this process itself. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import type { Hook, HookStreams } from '../runtime.ts';

export interface HookMoment {
  readonly name: string;
  /** Their standard input. */
  readonly state: string;
  readonly streams: HookStreams;
}

/** One after the other. Throws HOOK_FAILED for the first that fails. */
export function runHooks(hooks: readonly Hook[], { name, state, streams }: HookMoment): void {
  if (hooks.length === 0) return;
  const [stdout, stderr] = [openStream(streams.stdout), openStream(streams.stderr)];
  try {
    for (const [index, hook] of hooks.entries()) {
      const problem = problemOf(hook, state, [stdout ?? 'inherit', stderr ?? 'inherit']);
      if (problem !== undefined)
        throw new TsbuildError('HOOK_FAILED', `error running ${name} hook #${index}: ${problem}`);
    }
  } finally {
    for (const fd of [stdout, stderr]) if (fd !== undefined) closeSync(fd);
  }
}

function openStream(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  try {
    return openSync(path, 'a', 0o644);
  } catch (error) {
    throw new TsbuildError('HOOK_FAILED', `output of hooks: ${String(error)}`, { cause: error });
  }
}

/** What kept it from ending well. */
function problemOf(
  { path, args, env, timeoutMs }: Hook,
  state: string,
  [stdout, stderr]: readonly [number | 'inherit', number | 'inherit'],
): string | undefined {
  const [argv0 = path, ...rest] = args;
  const { error, signal, status } = spawnSync(path, rest, {
    argv0,
    input: state,
    // why: a hook that names no variables gets the runtime's, as with every other runtime.
    ...(env.length === 0
      ? {}
      : { env: Object.fromEntries(env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string])) }),
    stdio: ['pipe', stdout, stderr],
    killSignal: 'SIGKILL',
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
  });
  // why: a hook need not read its state; one that ended before it was written has not failed.
  if (error !== undefined && errnoOf(error) !== 'EPIPE') return error.message;
  if (signal !== null) return `killed by ${signal}`;
  return status === 0 ? undefined : `exit status ${status}`;
}

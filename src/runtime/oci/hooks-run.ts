/** Hooks that run on the host after the program started or ended (poststart, poststop): by this process itself. */
import { spawnSync } from 'node:child_process';
import { TsbuildError } from '../../base/errors.ts';
import type { Hook } from '../runtime.ts';

/** One after the other; the state is their standard input. Throws HOOK_FAILED for the first that fails. */
export function runHooks(hooks: readonly Hook[], name: string, state: string): void {
  for (const [index, { path, args, env, timeoutMs }] of hooks.entries()) {
    const [argv0 = path, ...rest] = args;
    const { error, signal, status } = spawnSync(path, rest, {
      argv0,
      input: state,
      // why: a hook that names no variables gets the runtime's, as with every other runtime.
      ...(env.length === 0
        ? {}
        : { env: Object.fromEntries(env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string])) }),
      stdio: ['pipe', 'inherit', 'inherit'],
      killSignal: 'SIGKILL',
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    });
    const problem =
      error?.message ??
      (signal !== null ? `killed by ${signal}` : status !== 0 ? `exit status ${status}` : undefined);
    if (problem !== undefined)
      throw new TsbuildError('HOOK_FAILED', `error running ${name} hook #${index}: ${problem}`);
  }
}

/** Commands in a process that stays, for tests that have hundreds of them: the start of Node would be most of their time. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Ended } from './fixture.ts';
import type { CommandEnded, CommandLine } from './many-commands.ts';

export interface Commands extends Disposable {
  /** One at a time. */
  run(args: readonly string[], cwd: string, env?: CommandLine['env']): Promise<Ended>;
  /** As `run`; throws with the output unless it ended well. */
  ok(args: readonly string[], cwd: string, env?: CommandLine['env']): Promise<Ended>;
}

export function startCommands(environment: NodeJS.ProcessEnv): Commands {
  const child = fork(join(import.meta.dirname, 'many-commands.js'), {
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let isBusy = false;
  const gone = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process of the commands ended with ${String(code ?? signal)}`);
  });
  gone.catch(() => undefined);
  const commands: Commands = {
    async run(args, cwd, env = {}) {
      assert.ok(!isBusy, 'one command at a time');
      isBusy = true;
      const line: CommandLine = { args, cwd, env };
      const answer = once(child, 'message') as Promise<[CommandEnded]>;
      child.send(line);
      const [ended] = await Promise.race([answer, gone]);
      isBusy = false;
      return ended;
    },
    async ok(args, cwd, env) {
      const ended = await commands.run(args, cwd, env);
      if (ended.code !== 0)
        throw new Error(`tsbuild ${args.join(' ')} ended with ${ended.code}:\n${ended.stderr}`);
      return ended;
    },
    [Symbol.dispose]: () => child.disconnect(),
  };
  return commands;
}

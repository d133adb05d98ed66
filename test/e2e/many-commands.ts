/**
 * Carries command lines out one after the other in one process, for tests that have hundreds of them. Forked: told
 * each over its channel, answers with how it ended.
 */
import { program } from '../../src/cli/program.ts';

export interface CommandLine {
  readonly args: readonly string[];
  readonly cwd: string;
  /** On top of what the process began with. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface CommandEnded {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const begun = { ...process.env };

process.on('message', ({ args, cwd, env }: CommandLine) => {
  process.chdir(cwd);
  process.env = { ...begun, ...env };
  process.exitCode = 0;
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    process[stream].write = (text: string | Uint8Array) => {
      output[stream] += typeof text === 'string' ? text : Buffer.from(text).toString();
      return true;
    };
  void program(args).then(() => process.send?.({ ...output, code: Number(process.exitCode) }));
});

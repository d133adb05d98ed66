/** What a command of the OCI runtime is, and what it works with. */
import { TsbuildError } from '../../base/errors.ts';
import type { RuntimeContext } from '../../runtime/oci/create.ts';
import type { Arguments, OptionSpec } from './arguments.ts';

export interface Session {
  readonly context: RuntimeContext;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly print: (text: string) => void;
  /** Signals that this process gets go there until the program has ended. */
  readonly forwardSignals: (pid: number) => void;
}

export interface Command {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly OptionSpec[];
  /** Options end at the first word. */
  readonly stop?: boolean;
  /** Resolves with the exit code. */
  readonly run: (args: Arguments, session: Session) => Promise<number> | number;
}

/** The container's id, which comes first. Throws USAGE where it or a further word is missing, or one too many. */
export function containerId(args: Arguments, most = 1): string {
  const [id] = args.words;
  if (id === undefined || id === '') throw new TsbuildError('USAGE', 'container id cannot be empty');
  if (args.words.length > most)
    throw new TsbuildError('USAGE', `too many arguments: ${JSON.stringify(args.words[most])}`);
  return id;
}

export const flag = (name: string, help: string, short?: string): OptionSpec => ({
  ...{ name, help, value: 'none' },
  ...(short === undefined ? {} : { short }),
});

export const option = (name: string, help: string, short?: string): OptionSpec => ({
  ...{ name, help, value: 'required' },
  ...(short === undefined ? {} : { short }),
});

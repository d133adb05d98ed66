/** What a command gets from the outside: the one place where environment, clock and streams enter. */
import type { Engine } from '../engine/engine.ts';
import type { RegistrySettings } from '../registry/settings.ts';
import type { Host } from '../base/host.ts';

export interface Session {
  readonly host: Host;
  readonly cwd: string;
  /** The state root, absolute. */
  readonly root: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Fires on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly engine: () => Engine;
  readonly registrySettings: () => Promise<RegistrySettings>;
  /** Whether a registry was asked for anything so far. */
  readonly asksRegistries: () => boolean;
  /** Takes a handler off the process's signals while a container in the foreground has them. */
  readonly onSignal: (handler: ((signal: NodeJS.Signals) => void) | undefined) => void;
  /** Instead of `signal`, which fires, too, when nobody reads the command's output any more. */
  readonly onBrokenOutput: (handler: () => void) => void;
}

/**
 * sd_notify(3): whoever starts the runtime as a service (NOTIFY_SOCKET) hears of the program in the container.
 *
 * The program gets a directory at the place of the service manager's socket, and in it `notify`, a socket of ours.
 */
import { mkdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Attachment, ContainerSpec } from '../runtime.ts';
import type { Fields } from './fields.ts';

const NAME = 'notify';

export interface Notified {
  readonly notify: NonNullable<ContainerSpec['notify']>;
  readonly mount: Attachment & { readonly kind: 'attach' };
  readonly env: readonly string[];
}

/**
 * `manager`: NOTIFY_SOCKET of the caller; makes the directory in the container's state directory. Undefined where there is
 * none, or the config has one of its own.
 */
export function prepareNotify(
  config: Fields,
  manager: string | undefined,
  stateDirectory: string,
): Notified | undefined {
  if (manager === undefined || manager === '') return undefined;
  const env = config.fields('process').texts('env');
  if (env.some((entry) => entry.startsWith('NOTIFY_SOCKET='))) return undefined;
  const directory = join(stateDirectory, NAME);
  mkdirSync(directory, { mode: 0o755 });
  // A name of the abstract namespace has no place in the container's.
  const target = isAbsolute(manager) ? manager : '/run/notify';
  return {
    notify: { path: join(directory, NAME), manager },
    mount: {
      ...({ kind: 'attach', type: 'none', source: directory, target } as const),
      ...{ bind: true, recursive: false, copyUp: false, remount: false, outside: true },
      ...{ set: 0x0f, clear: 0, setBelow: 0, clearBelow: 0, propagation: 0, options: [] },
    },
    env: [`NOTIFY_SOCKET=${join(target, NAME)}`],
  };
}

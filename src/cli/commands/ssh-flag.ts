/** `--ssh default|ID[=SOCKET]`: which agents RUN --mount=type=ssh may use. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { Session } from '../session.ts';

/** Sockets by id. Throws USAGE. */
export function readSshFlags(
  specs: readonly string[],
  { env, cwd }: Pick<Session, 'env' | 'cwd'>,
): ReadonlyMap<string, string> {
  return new Map(
    specs.map((spec) => {
      const equals = spec.indexOf('=');
      const id = equals < 0 ? spec : spec.slice(0, equals);
      const given = equals < 0 ? env['SSH_AUTH_SOCK'] : spec.slice(equals + 1);
      const fail = (message: string, hint: string): TsbuildError =>
        new TsbuildError('USAGE', `invalid --ssh ${JSON.stringify(spec)}: ${message}`, { hint });
      if (id === '') throw fail('the id is missing', 'write default, or ID=SOCKET');
      if (given === undefined || given === '')
        throw fail(
          'there is no agent',
          'start one (eval $(ssh-agent)), so that SSH_AUTH_SOCK names its socket',
        );
      const path = resolve(cwd, given);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat === undefined)
        throw fail(`there is no ${JSON.stringify(given)}`, 'name the socket of an agent');
      if (!stat.isSocket())
        throw fail(
          `${JSON.stringify(given)} is not the socket of an agent`,
          'add the key to an agent with ssh-add and name its socket',
        );
      return [id, path];
    }),
  );
}

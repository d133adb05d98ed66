/** `--add-host`, of builds and containers. */
import { TsbuildError } from '../../base/errors.ts';

/** The entry as it is. Throws USAGE. */
export function checkHost(entry: string): string {
  if (!/^[^:=\s]+[:=](?:\[?[0-9A-Fa-f:.]+\]?|host-gateway)$/.test(entry))
    throw new TsbuildError('USAGE', `invalid --add-host ${JSON.stringify(entry)}`, {
      hint: 'write NAME:IP or NAME:host-gateway',
    });
  return entry;
}

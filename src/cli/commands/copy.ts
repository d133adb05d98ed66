/** `tsbuild copy FROM TO`: an image from one place to another. */
import { copyBetweenPlaces } from '../../engine/copy.ts';
import { parsePlace } from '../../engine/places.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { formatOf, givenPlatform, rendered, writeDigest } from './transfer-flags.ts';

export async function runCopy(flags: ParsedFlags, session: Session): Promise<number> {
  const [from = '', to = ''] = flags.words;
  const { cwd, signal, stdout } = session;
  const platform = givenPlatform(flags, session);
  const format = formatOf(flags);
  const destination = parsePlace(to, cwd);
  const tags = flags.list('tag');
  if (tags.length > 0 && destination.kind !== 'registry')
    throw new TsbuildError('USAGE', '--tag is for a registry', { hint: 'leave it out' });
  const digest = await rendered(flags, session, (sink) =>
    copyBetweenPlaces(
      session.engine(),
      {
        from: parsePlace(from, cwd),
        to: destination,
        tags,
        ...(platform === undefined ? {} : { platform }),
        ...(format === undefined ? {} : { format }),
      },
      { sink, signal },
    ),
  );
  writeDigest(flags, session, digest);
  stdout.write(`${digest}\n`);
  return 0;
}

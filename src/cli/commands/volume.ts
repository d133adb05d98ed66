/** `tsbuild volume create|ls|inspect|rm|prune`. */
import { TsbuildError, isTsbuildError } from '../../base/errors.ts';
import type { Volume } from '../../engine/volumes.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList } from '../format/rows.ts';
import type { Session } from '../session.ts';
import { inspectedVolume, VOLUME_LIST, volumeRow } from '../views/volumes.ts';
import { decimalSize } from '../views/words.ts';
import { isMeant } from './is-meant.ts';
import { forEach, inspectEach } from './for-each.ts';
import { matchGlob } from './name-glob.ts';
import { parseLabels } from './run-flags/environment.ts';
import { splitPair } from './run-flags/fields.ts';

export async function runVolumeCreate(flags: ParsedFlags, session: Session): Promise<number> {
  const driver = flags.text('driver') ?? 'local';
  if (driver !== 'local')
    throw new TsbuildError('USAGE', `volume driver ${JSON.stringify(driver)} is not supported`, {
      hint: 'leave --driver out: there is "local" alone',
    });
  const name = flags.words[0] ?? flags.text('name');
  const volume = session.engine().volumes.create({
    ...(name === undefined ? {} : { name }),
    labels: parseLabels('--label', flags.list('label')),
    options: parseLabels('--opt', flags.list('opt')),
  });
  session.stdout.write(`${volume.name}\n`);
  return Promise.resolve(0);
}

export async function runVolumeList(flags: ParsedFlags, session: Session): Promise<number> {
  const { volumes } = session.engine();
  const isUsed = (volume: Volume): boolean => volumes.holders(volume.name).length > 0;
  const filters = flags.list('filter').map((text) => volumeFilter(text, isUsed));
  const rows = volumes
    .list()
    .filter((volume) => filters.every((filter) => filter(volume)))
    .map((volume) => volumeRow(volume));
  const options = { format: flags.text('format'), quiet: flags.boolean('quiet') };
  session.stdout.write(formatList(VOLUME_LIST, rows, options));
  return Promise.resolve(0);
}

function volumeFilter(text: string, isUsed: (volume: Volume) => boolean): (volume: Volume) => boolean {
  const [key, value = ''] = splitPair(text);
  switch (key) {
    case 'name':
      return ({ name }) => name.includes(value) || matchGlob(value, name);
    case 'driver':
      return () => value === 'local';
    case 'label':
      return labelFilter(value);
    case 'label!': {
      const matches = labelFilter(value);
      return (volume) => !matches(volume);
    }
    case 'dangling':
      if (/^(?:true|false|0|1)$/.test(value))
        return (volume) => isUsed(volume) === /^(?:false|0)$/.test(value);
  }
  throw new TsbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
    hint: 'use dangling=true|false, driver=, label= or name=',
  });
}

function labelFilter(value: string): (volume: Volume) => boolean {
  const [name, expected] = splitPair(value);
  return ({ labels }) => Object.hasOwn(labels, name) && (expected === undefined || labels[name] === expected);
}

export async function runVolumeInspect(flags: ParsedFlags, session: Session): Promise<number> {
  const { volumes } = session.engine();
  return inspectEach(flags.words, session, flags.text('format'), (name) =>
    inspectedVolume(volumes.require(name)),
  );
}

export async function runVolumeRemove(flags: ParsedFlags, session: Session): Promise<number> {
  const { volumes } = session.engine();
  return forEach(flags.words, session, (name) => {
    try {
      volumes.remove(name);
    } catch (error) {
      if (!flags.boolean('force') || !isTsbuildError(error, 'VOLUME_NOT_FOUND')) throw error;
    }
    session.stdout.write(`${name}\n`);
  });
}

export async function runVolumePrune(flags: ParsedFlags, session: Session): Promise<number> {
  const filters = flags.list('filter').map((text) => volumeFilter(text, () => false));
  const all = flags.boolean('all');
  const what = `all ${all ? '' : 'anonymous '}volumes that no container has`;
  if (!(await isMeant(flags, session, [what]))) return 0;
  const { removed, freed } = session
    .engine()
    .volumes.prune((volume) => (all || volume.anonymous) && filters.every((filter) => filter(volume)));
  if (removed.length > 0) session.stdout.write(`Deleted Volumes:\n${removed.join('\n')}\n\n`);
  session.stdout.write(`Total reclaimed space: ${decimalSize(freed)}\n`);
  return 0;
}

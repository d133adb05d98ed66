/** Id mappings: as lists of objects, and as the text of a mount's `idmap=` option. */
import { readFileSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import type { IdMap, IdMaps } from '../runtime.ts';
import type { Fields } from './fields.ts';

/** `uidMappings` and `gidMappings`; undefined where neither is there. */
export function parseIdMaps(fields: Fields): IdMaps | undefined {
  const maps = (name: string): readonly IdMap[] =>
    fields.list(name).map((each) => ({
      inside: each.required('containerID', each.number('containerID')),
      outside: each.required('hostID', each.number('hostID')),
      size: each.required('size', each.number('size')),
    }));
  const [uids, gids] = [maps('uidMappings'), maps('gidMappings')];
  return uids.length === 0 && gids.length === 0 ? undefined : { uids, gids };
}

/** Every id that we have as itself: what a user namespace without mappings means. */
export function ownIdMaps(): IdMaps {
  const asThemselves = (maps: readonly IdMap[]): readonly IdMap[] =>
    maps.map(({ inside, size }) => ({ inside, outside: inside, size }));
  const { uids, gids } = idMapsOfProcess('self');
  return { uids: asThemselves(uids), gids: asThemselves(gids) };
}

/** Those of its user namespace, as we number ids; none where it is gone. */
export function idMapsOfProcess(pid: number | 'self'): IdMaps {
  const read = (name: string): readonly IdMap[] => readMap(`/proc/${pid}/${name}`);
  return { uids: read('uid_map'), gids: read('gid_map') };
}

function readMap(path: string): readonly IdMap[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line): IdMap[] => {
    const [inside, outside, size] = line.trim().split(/\s+/).map(Number);
    if (inside === undefined || outside === undefined || size === undefined) return [];
    return [{ inside, outside, size }];
  });
}

/** `uids=0-1000-10#20-2000-5;gids=0-1000-10`: inside, outside, size. Throws SPEC_INVALID. */
export function parseIdMapText(text: string): IdMaps {
  const maps: Record<string, readonly IdMap[]> = {};
  for (const part of text.split(';')) {
    const match = /^(uids|gids)=(.+)$/.exec(part);
    if (match === null) throw invalid(text);
    maps[match[1] ?? ''] = (match[2] ?? '').split('#').map((entry) => {
      const numbers = /^@?(\d+)-(\d+)-(\d+)$/.exec(entry);
      if (numbers === null) throw invalid(text);
      return { inside: Number(numbers[1]), outside: Number(numbers[2]), size: Number(numbers[3]) };
    });
  }
  const { uids, gids } = maps;
  if (uids === undefined || gids === undefined) throw invalid(text);
  return { uids, gids };
}

function invalid(text: string): TsbuildError {
  return new TsbuildError('SPEC_INVALID', `invalid idmap option ${JSON.stringify(text)}`, {
    hint: 'write uids=INSIDE-OUTSIDE-SIZE;gids=INSIDE-OUTSIDE-SIZE',
  });
}

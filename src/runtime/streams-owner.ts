/** Whose a program's standard streams become, so that it can open /dev/stdout and its like again. */
import type { IdMap, IdMaps, ProcessSpec } from './runtime.ts';

type Owner = Pick<ProcessSpec, 'streamsOwner'>;

/**
 * `maps`: of the user namespace that the program is in; undefined: the host's. Nobody where the program gets a terminal,
 * is root on the host (who may use them anyway), or has no id there. `files`: also of those that are no pipes of ours.
 */
export function streamsOwnerOf(
  { user, terminal }: Pick<ProcessSpec, 'user' | 'terminal'>,
  maps: IdMaps | undefined,
  files: boolean,
): Owner {
  const uid = outside(user.uid, maps?.uids);
  const gid = outside(user.gid, maps?.gids);
  if (terminal || uid === undefined || uid === 0 || gid === undefined) return {};
  return { streamsOwner: { uid, gid, files } };
}

function outside(id: number, maps: readonly IdMap[] | undefined): number | undefined {
  if (maps === undefined) return id;
  const map = maps.find(({ inside, size }) => id >= inside && id < inside + size);
  return map === undefined ? undefined : map.outside + (id - map.inside);
}

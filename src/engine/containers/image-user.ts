/**
 * Who a container runs as, out of its image's passwd and group. Reading them takes a mount, and an image never
 * changes, so what was found is kept: ROOT/run/users/<digest of the question>.json.
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, type Digest } from '../../base/digest.ts';
import { isJsonObject } from '../../base/json.ts';
import { openTree } from '../../layer/open-tree.ts';
import { resolveGroups, resolveRunUser, type ResolvedRunUser } from '../../oci/user.ts';
import { readOwnerFiles } from '../../solver/exec/owner-files.ts';
import type { SnapshotName } from '../../../snapshotter/snapshotter.ts';
import type { Engine } from '../engine.ts';

export interface UserQuestion {
  readonly image: Digest;
  readonly snapshot: SnapshotName | undefined;
  /** As USER and --user write it; '' is root. */
  readonly user: string;
  /** --group-add. */
  readonly groups: readonly string[];
}

/** Throws USER_NOT_FOUND. */
export async function imageUser(engine: Engine, question: UserQuestion): Promise<ResolvedRunUser> {
  const { image, user, groups } = question;
  const name = hexOf(digestOf(JSON.stringify([image, user, groups])));
  const path = join(engine.options.root, 'run/users', `${name}.json`);
  const known = parseUser(readJsonIfExists(path));
  if (known !== undefined) return known;
  const found = await lookUp(engine, question);
  writeFileAtomic(engine.host, path, JSON.stringify(found));
  return found;
}

async function lookUp(engine: Engine, { snapshot, user, groups }: UserQuestion): Promise<ResolvedRunUser> {
  await using view = await (await engine.snapshotter()).view(snapshot);
  using tree = openTree(view.mounts);
  const files = readOwnerFiles(tree);
  const found = resolveRunUser(user, files);
  const all = [...found.additionalGids, ...resolveGroups(groups, files)];
  return { ...found, additionalGids: [...new Set(all)] };
}

function parseUser(value: unknown): ResolvedRunUser | undefined {
  if (!isJsonObject(value)) return undefined;
  const { uid, gid, additionalGids, home } = value;
  const isNumber = (each: unknown): each is number => typeof each === 'number';
  if (!isNumber(uid) || !isNumber(gid) || typeof home !== 'string' || !Array.isArray(additionalGids))
    return undefined;
  return { uid, gid, home, additionalGids: additionalGids.filter(isNumber) };
}

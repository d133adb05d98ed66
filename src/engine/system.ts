/** Looking after the state root: `system check`. */
import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createDigester, type Digest } from '../base/digest.ts';
import { errnoOf, ioError } from '../base/errors.ts';
import { readWritableHierarchies } from '../runtime/cgroups/read-hierarchies.ts';
import { sweepStepCgroups } from '../runtime/cgroups/sweep.ts';
import { readTags } from './gc/roots.ts';
import { sweepLeft, writeBackLeft } from './sweep.ts';
import { isAbandoned, repairContainers } from './containers/repair.ts';
import type { Engine } from './engine.ts';

export interface CheckReport {
  /** One sentence per finding. */
  readonly damage: readonly string[];
  readonly checked: {
    readonly blobs: number;
    readonly layers: number;
    readonly images: number;
    readonly snapshots: number;
    readonly containers: number;
  };
  /** What killed processes had left, and is gone now. */
  readonly swept: number;
  /** What was put right of containers and their networks: one sentence each. */
  readonly repaired: readonly string[];
}

/**
 * Reads every blob and layer again, and looks for what images name and nobody has. Others may work at the same time: only
 * what is found twice is damage.
 */
export async function checkStore(engine: Engine): Promise<CheckReport> {
  const { root } = engine.options;
  const repaired = [...(await repairContainers(engine)), ...(await sweepNetworks(engine))];
  const swept = sweepLeft(root) + sweepStepCgroups(readWritableHierarchies());
  const { damage, checked } = await examine(engine);
  await writeBackLeft(root);
  if (damage.length === 0) return { damage, checked, swept, repaired };
  const again = new Set((await examine(engine)).damage);
  return { damage: damage.filter((finding) => again.has(finding)), checked, swept, repaired };
}

async function examine(engine: Engine): Promise<Pick<CheckReport, 'damage' | 'checked'>> {
  const damage: string[] = [];
  const { root } = engine.options;
  let blobs = 0;
  for (const digest of engine.content.list()) {
    const found = await digestOfFile(engine.content.path(digest), digest);
    if (found === undefined) continue;
    blobs += 1;
    if (found !== digest) damage.push(`blob ${digest} has another content`);
  }
  let layers = 0;
  for (const diffID of engine.layers.list()) {
    const path = engine.layers.get(diffID)?.path;
    const found = path === undefined ? undefined : await digestOfFile(path, diffID);
    if (found === undefined) continue;
    layers += 1;
    if (found !== diffID) damage.push(`layer ${diffID} has another content`);
  }
  const images = await engine.images.list();
  for (const image of images)
    for (const diffID of image.config.rootfs.diff_ids)
      if (!engine.images.hasLayer(diffID)) damage.push(`image ${image.id} lacks layer ${diffID}`);
  const ids = new Set<string>(images.map(({ id }) => id));
  for (const { name, id } of readTags(root))
    if (!ids.has(id)) damage.push(`the name ${name} is given to image ${id}, which is not there`);
  let snapshots = 0;
  if (existsSync(join(root, 'snapshots'))) {
    const snapshotter = await engine.snapshotter();
    damage.push(...(await snapshotter.check()));
    for await (const info of snapshotter.list()) snapshots += info.name === '' ? 0 : 1;
  }
  const containers = engine.containers.list().length;
  return { damage, checked: { blobs, layers, images: images.length, snapshots, containers } };
}

/** Also what state roots left that are gone: whoever looks is the one who can. */
async function sweepNetworks(engine: Engine): Promise<readonly string[]> {
  const isAlive = (id: string): boolean => {
    const container = engine.containers.get(id);
    return container !== undefined && !isAbandoned(container);
  };
  return (await engine.networks()).sweep(isAlive);
}

/** undefined: it was removed meanwhile. */
async function digestOfFile(path: string, like: Digest): Promise<Digest | undefined> {
  const digester = createDigester(like);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
      digester.update(chunk as Uint8Array);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw ioError(`read ${JSON.stringify(path)}`, error);
  }
  return digester.digest();
}

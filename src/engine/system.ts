/** Looking after the state root: `system check`, `df`, `prune`. */
import { createReadStream, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createDigester, type Digest, type DiffID } from '../base/digest.ts';
import { sweepUnowned } from '../base/owner.ts';
import { usageOf } from '../base/usage.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import type { SnapshotInfo, SnapshotName } from '../../snapshotter/snapshotter.ts';
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

/** Reads every blob and layer again, and looks for what images name and nobody has. */
export async function checkStore(engine: Engine): Promise<CheckReport> {
  const damage: string[] = [];
  const { root } = engine.options;
  const repaired = [...(await repairContainers(engine)), ...(await sweepNetworks(engine))];
  const swept = unfinished(root).reduce((sum, directory) => sum + sweepUnowned(directory), 0);
  let blobs = 0;
  for (const digest of engine.content.list()) {
    blobs += 1;
    if ((await digestOfFile(engine.content.path(digest), digest)) !== digest)
      damage.push(`blob ${digest} has another content`);
  }
  let layers = 0;
  for (const diffID of engine.layers.list()) {
    layers += 1;
    const path = engine.layers.get(diffID)?.path;
    if (path !== undefined && (await digestOfFile(path, diffID)) !== diffID)
      damage.push(`layer ${diffID} has another content`);
  }
  const images = await engine.images.list();
  for (const image of images)
    for (const diffID of image.config.rootfs.diff_ids)
      if (!engine.images.hasLayer(diffID)) damage.push(`image ${image.id} lacks layer ${diffID}`);
  let snapshots = 0;
  if (existsSync(join(root, 'snapshots'))) {
    const snapshotter = await engine.snapshotter();
    damage.push(...(await snapshotter.check()));
    for await (const info of snapshotter.list()) snapshots += info.name === '' ? 0 : 1;
  }
  const containers = engine.containers.list().length;
  return {
    damage,
    checked: { blobs, layers, images: images.length, snapshots, containers },
    swept,
    repaired,
  };
}

async function sweepNetworks(engine: Engine): Promise<readonly string[]> {
  if (!existsSync(join(engine.options.root, 'networks'))) return [];
  const isAlive = (id: string): boolean => {
    const container = engine.containers.get(id);
    return container !== undefined && !isAbandoned(container);
  };
  return (await engine.networks()).sweep(isAlive);
}

function unfinished(root: string): readonly string[] {
  return [
    join(root, 'content/partial'),
    join(root, 'layers/partial'),
    join(root, 'spool'),
    join(root, 'run/scratch'),
    ...drivers(root).map((driver) => join(driver, 'staging')),
  ];
}

function drivers(root: string): readonly string[] {
  const snapshots = join(root, 'snapshots');
  return existsSync(snapshots) ? readdirSync(snapshots).map((name) => join(snapshots, name)) : [];
}

async function digestOfFile(path: string, like: Digest): Promise<Digest> {
  const digester = createDigester(like);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
    digester.update(chunk as Uint8Array);
  return digester.digest();
}

export interface UsageRow {
  readonly type: string;
  readonly size: number;
}

export function diskUsage(engine: Engine): readonly UsageRow[] {
  const { root } = engine.options;
  const rows: readonly [string, string][] = [
    ['layers', 'layers'],
    ['blobs', 'content'],
    ['snapshots', 'snapshots'],
    ['records', 'records'],
    ['cache mounts', 'run/caches'],
  ];
  return rows.map(([type, path]) => ({
    type,
    size: existsSync(join(root, path)) ? usageOf(join(root, path)).size : 0,
  }));
}

/**
 * Removes layers and blobs that no image names, and every snapshot (they are made again from layers). Records go
 * with `all`; others find out by themselves when a layer is gone.
 */
export async function prune(
  engine: Engine,
  options: { readonly all: boolean },
): Promise<{ readonly freed: number }> {
  const before = total(diskUsage(engine));
  const { root } = engine.options;
  const images = await engine.images.list();
  const usedLayers = new Set<DiffID>(images.flatMap((image) => image.config.rootfs.diff_ids));
  const usedBlobs = new Set<Digest>(
    images.flatMap((image) => [image.id, ...(image.manifest === undefined ? [] : [image.manifest.digest])]),
  );
  for (const { manifest } of images) {
    // An image that came by sha512 has its config under that name too.
    if (manifest === undefined || engine.content.size(manifest.digest) === undefined) continue;
    const bytes = engine.content.readNow(manifest.digest, MAX_DOCUMENT);
    const parsed = parseManifestOrIndex(bytes, manifest.digest);
    if (parsed.kind === 'manifest') usedBlobs.add(parsed.manifest.config.digest);
  }
  for (const diffID of usedLayers) {
    const origin = engine.compressed.get(diffID, 'origin');
    if (origin !== undefined) usedBlobs.add(origin.digest);
  }
  if (options.all) rmSync(join(root, 'records'), { recursive: true, force: true });
  for (const diffID of [...engine.layers.list()]) if (!usedLayers.has(diffID)) engine.layers.remove(diffID);
  for (const digest of [...engine.content.list()]) if (!usedBlobs.has(digest)) engine.content.remove(digest);
  if (options.all) {
    await removeSnapshots(engine);
    rmSync(join(root, 'run/users'), { recursive: true, force: true });
  }
  return { freed: Math.max(0, before - total(diskUsage(engine))) };
}

async function removeSnapshots(engine: Engine): Promise<void> {
  if (!existsSync(join(engine.options.root, 'snapshots'))) return;
  const snapshotter = await engine.snapshotter();
  const all = [];
  for await (const info of snapshotter.list()) all.push(info);
  const parents = new Set(all.map((info) => info.parent));
  const used = snapshotsOfContainers(engine, all);
  // Children before parents, one generation after the other.
  let left = all.filter((info) => !used.has(info.name));
  while (left.length > 0) {
    const leaves = left.filter((info) => !parents.has(info.name));
    if (leaves.length === 0) return;
    for (const leaf of leaves) await snapshotter.remove(leaf.name);
    left = left.filter((info) => !leaves.includes(info));
    parents.clear();
    for (const info of left) parents.add(info.parent);
  }
}

/** Containers lie on their image's snapshot and on all below it, whether they run or not. */
function snapshotsOfContainers(engine: Engine, all: readonly SnapshotInfo[]): ReadonlySet<SnapshotName> {
  const parentOf = new Map(all.map((info) => [info.name, info.parent]));
  const used = new Set<SnapshotName>();
  for (const { config } of engine.containers.list())
    for (let at = config.image.snapshot; at !== undefined && !used.has(at); at = parentOf.get(at))
      used.add(at);
  return used;
}

function total(rows: readonly UsageRow[]): number {
  return rows.reduce((sum, row) => sum + row.size, 0);
}

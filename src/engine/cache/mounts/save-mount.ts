/**
 * A cache mount as it is, into a place: only chunks and segments that the place does not have.
 *
 * Packs of which little is in use any more, and small ones of which there are many, are not built upon: what is needed
 * of them is packed anew.
 */
import { createReadStream } from 'node:fs';
import type { Digest } from '../../../base/digest.ts';
import { copyBlob } from '../../../content/copy-image.ts';
import type { BlobSource } from '../../../content/roles.ts';
import type { Descriptor } from '../../../oci/documents.ts';
import type { Engine } from '../../engine.ts';
import { transferOptions } from '../../transfer-progress.ts';
import { withVertex, type CallOptions } from '../../with-vertex.ts';
import { documentOf, mountManifest, type Document } from '../artifacts.ts';
import { isCacheDamage } from '../cache-damage.ts';
import type { CachePlace } from '../cache-place.ts';
import { mountTag } from '../cache-spec.ts';
import { PLAN_MS, STALL_MS, whileMoving, within } from '../patience.ts';
import {
  SEGMENT_TYPE,
  serializeSegment,
  splitEntries,
  type MountEntry,
  type PlacedChunk,
} from './mount-index.ts';
import { readMountState, writeMountState } from './mount-state.ts';
import { createPackWriter } from './pack-writer.ts';
import { findMount, mountSummary, readEntries, type RemoteMount } from './remote-mount.ts';
import { scanMount, type ScannedEntry } from './scan.ts';
import { TICK_MS, type MountUse } from './mount-use.ts';

const IN_FLIGHT = 3;
/** Share of a pack that must be in use. */
const IN_USE = 0.5;
const SMALL_PACK = 1 << 20;
const MAX_SMALL = 16;

export interface SaveOptions extends CallOptions {
  readonly engine: Engine;
  readonly place: CachePlace;
  readonly mount: MountUse;
  readonly statePath: string;
  /** What the place has of it cannot be read: all of it is written anew. */
  readonly isDamaged: boolean;
}

/** Throws REGISTRY_*, IO_FAILED. */
export async function saveMount(options: SaveOptions): Promise<void> {
  const { engine, place, mount, sink, signal } = options;
  const vertex = `cache mount ${mount.name} to ${place.name}`;
  await withVertex(sink, engine.host, vertex, `exporting cache mount ${mount.id} to ${place.name}`, () =>
    whileMoving(STALL_MS, signal, async (inner, moved) => {
      const saving = { ...options, signal: inner };
      try {
        await save(saving, vertex, moved);
      } catch (error) {
        const isDamage = isCacheDamage(error) || place.sink.isIncomplete?.(error) === true;
        if (options.isDamaged || !isDamage) throw error;
        await save({ ...saving, isDamaged: true }, vertex, moved);
      }
    }),
  );
}

async function save(options: SaveOptions, vertex: string, moved: () => void): Promise<void> {
  const { engine, place, mount, statePath, isDamaged, signal } = options;
  const { host, content, spool } = engine;
  const io = transferOptions(vertex, 'exporting', host, options);
  const asking = { signal, onNotice: io.onNotice };
  // What is damaged is there, too.
  const sink = isDamaged ? { ...place.sink, has: () => Promise.resolve(false) } : place.sink;
  const put = (blob: Descriptor, from: BlobSource): Promise<void> =>
    copyBlob(blob, from, sink, {
      ...asking,
      onProgress(each, current, done) {
        moved();
        io.onProgress(each, current, done);
      },
    });

  const before = isDamaged
    ? undefined
    : await within(PLAN_MS, signal, (inner) => findMount(place, mount.name, { ...asking, signal: inner }));
  const known = before === undefined ? [] : await readEntries(place, before, content, asking);
  const placed = before === undefined ? new Map<string, PlacedChunk>() : chunksOf(before, known);
  const state = readMountState(statePath);
  await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  const settledAt = host.now() - TICK_MS;
  const packed = new Map<Digest, Descriptor>();
  using packs = createPackWriter({
    spool,
    inFlight: IN_FLIGHT,
    async onPack(pack, path) {
      packed.set(pack.digest, pack);
      await put(pack, { open: () => createReadStream(path, { highWaterMark: 1 << 20 }) });
    },
  });
  const scanned = await scanMount(mount.directory, {
    signal,
    settledAt,
    known: state.files,
    mustRead: (chunks) => chunks.some(({ digest }) => !placed.has(digest)),
    async onChunk(chunk, bytes, isCompressed) {
      moved();
      if (!placed.has(chunk.digest)) await packs.add(chunk, bytes, isCompressed);
    },
  });
  for (const [digest, chunk] of await packs.finish()) placed.set(digest, chunk);
  const entries = scanned.entries.map((entry) => placedEntry(entry, placed));
  const segments = splitEntries(entries).map((each) => documentOf(SEGMENT_TYPE, serializeSegment(each)));
  const isSame =
    before?.segments.length === segments.length &&
    segments.every(({ descriptor }, index) => descriptor.digest === before.segments[index]?.digest);
  const digest = isSame ? before.digest : await publish(entries, segments);
  // Kept for the next build, which need not fetch them.
  for (const { bytes } of segments) content.write(bytes);
  writeMountState(
    statePath,
    { synced: { ...state.synced, [place.repository]: digest }, files: scanned.files },
    host,
  );

  async function publish(all: readonly MountEntry[], parts: readonly Document[]): Promise<Digest> {
    const there = new Set(before?.segments.map((segment) => segment.digest));
    const summary = mountSummary(mount.id, all);
    for (const { descriptor, bytes } of [...parts, summary])
      if (!there.has(descriptor.digest)) await put(descriptor, { open: () => once(bytes) });
    const inUse = new Set(
      all.flatMap((entry) => (entry.kind === 'file' ? entry.chunks.map(({ pack }) => pack) : [])),
    );
    const layers = [...inUse].flatMap((pack) => packed.get(pack) ?? before?.packs.get(pack) ?? []);
    const manifest = mountManifest(
      summary,
      parts.map(({ descriptor }) => descriptor),
      layers,
    );
    await place.publish(mountTag(mount.name), manifest, asking);
    moved();
    return manifest.descriptor.digest;
  }
}

/** Where chunks lie that are worth being built upon, by digest. */
function chunksOf({ packs }: RemoteMount, entries: readonly MountEntry[]): Map<string, PlacedChunk> {
  const chunks = new Map<string, PlacedChunk>();
  for (const entry of entries)
    if (entry.kind === 'file') for (const chunk of entry.chunks) chunks.set(chunk.digest, chunk);
  const live = new Map<Digest, number>();
  for (const { pack, stored } of chunks.values()) live.set(pack, (live.get(pack) ?? 0) + stored);
  const small = [...packs.values()].filter(({ size }) => size < SMALL_PACK);
  const retired = new Set(
    [...packs.values()]
      .filter(({ digest, size }) => (live.get(digest) ?? 0) < size * IN_USE)
      .concat(small.length > MAX_SMALL ? small : [])
      .map(({ digest }) => digest),
  );
  for (const [digest, { pack }] of chunks) if (retired.has(pack)) chunks.delete(digest);
  return chunks;
}

function placedEntry(entry: ScannedEntry, placed: ReadonlyMap<string, PlacedChunk>): MountEntry {
  if (entry.kind !== 'file') return entry;
  const chunks = entry.chunks.map(({ digest }) => {
    const chunk = placed.get(digest);
    if (chunk === undefined) throw new RangeError(`chunk ${digest} was not packed`);
    return chunk;
  });
  return { ...entry, chunks };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

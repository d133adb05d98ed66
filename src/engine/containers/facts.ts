/** What is known of a container beside its own files: its networks, its size, what it uses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { usageOf } from '../../base/usage.ts';
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import { statsOf, type CgroupStats } from '../../runtime/cgroups/stats.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import { createAttachmentStore } from '../../runtime/network/attachment-store.ts';
import type { Endpoint, PublishedPort } from '../../runtime/network/contract.ts';
import type { Engine } from '../engine.ts';

export interface NetworkFacts {
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PublishedPort[];
  readonly netns: string | undefined;
}

/** Reads what is attached, without opening any network. */
export function networkFacts(engine: Engine, { id }: StoredContainer): NetworkFacts {
  const record = createAttachmentStore(join(engine.options.root, 'networks'), engine.host).read(id);
  return { endpoints: record?.endpoints ?? [], ports: record?.ports ?? [], netns: record?.netns };
}

/** Bytes of its own layer on disk, and with its image. */
export async function containerSize(
  engine: Engine,
  container: StoredContainer,
): Promise<{ readonly own: number; readonly all: number }> {
  const image = await engine.images.find(container.config.image.id);
  const own = sizeOf(join(container.directory, 'layer'));
  return { own, all: own + (image === undefined ? 0 : engine.images.sizeOf(image)) };
}

function sizeOf(path: string): number {
  try {
    return usageOf(path).size;
  } catch {
    return 0;
  }
}

/** What a running container's cgroup tells; undefined where it does not run. */
export function containerStats({ state }: StoredContainer): CgroupStats | undefined {
  const place = state.process === undefined ? undefined : placeOfProcess(state.process.pid);
  return place === undefined ? undefined : statsOf(place);
}

/** /proc/net/dev as a running container sees it; empty where it does not run. */
export function containerTraffic({ state }: StoredContainer): string {
  try {
    return state.process === undefined ? '' : readFileSync(`/proc/${state.process.pid}/net/dev`, 'utf8');
  } catch {
    return '';
  }
}

/** `system df` as tables. Columns: docker/cli, formatter/disk_usage.go and buildcache.go. */
import type { CacheUsage, UsageReport } from '../../engine/gc/usage.ts';
import { isRunning } from '../../engine/gc/usage.ts';
import type { ListView } from '../format/rows.ts';
import type { Struct } from '../format/values.ts';
import { CONTAINER_LIST, containerRow } from './containers.ts';
import { IMAGE_LIST, repositoryOf } from './images.ts';
import { VOLUME_LIST, volumeRow } from './volumes.ts';
import { age, decimalSize, ellipsis, goTime, humanDuration, shortID } from './words.ts';

export const USAGE_LIST: ListView = {
  headings: {
    Active: 'ACTIVE',
    Reclaimable: 'RECLAIMABLE',
    Size: 'SIZE',
    TotalCount: 'TOTAL',
    Type: 'TYPE',
  },
  table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
};

export const CACHE_LIST: ListView = {
  headings: {
    CacheType: 'CACHE TYPE',
    CreatedAt: 'CREATED AT',
    CreatedSince: 'CREATED',
    Description: 'DESCRIPTION',
    ID: 'CACHE ID',
    InUse: 'IN USE',
    LastUsedAt: 'LAST USED AT',
    LastUsedSince: 'LAST USED',
    Shared: 'SHARED',
    Size: 'SIZE',
  },
  table:
    '{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.Shared}}\t{{.Description}}',
};

const IMAGE_USAGE: ListView = {
  ...IMAGE_LIST,
  table:
    '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}',
};
const CONTAINER_USAGE: ListView = {
  ...CONTAINER_LIST,
  table:
    '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}',
};
const VOLUME_USAGE: ListView = { ...VOLUME_LIST, table: '{{.Name}}\t{{.Links}}\t{{.Size}}' };

function row(
  type: string,
  { total, active, size, reclaimable }: Readonly<Record<'total' | 'active' | 'size' | 'reclaimable', number>>,
): Struct {
  const share = size > 0 ? ` (${Math.floor((reclaimable * 100) / size)}%)` : '';
  return {
    Type: type,
    TotalCount: String(total),
    Active: String(active),
    Size: decimalSize(size),
    Reclaimable: `${decimalSize(reclaimable)}${share}`,
  };
}

export function usageRows(report: UsageReport): readonly Struct[] {
  const { images, containers, volumes, cache } = report;
  const sum = (list: readonly { readonly size: number }[]): number =>
    list.reduce((total, { size }) => total + size, 0);
  const idle = containers.filter(({ container }) => !isRunning(container));
  const unused = volumes.filter(({ links }) => links === 0);
  return [
    row('Images', {
      total: images.length,
      active: images.filter(({ image }) => image.containers > 0).length,
      size: report.imageSize,
      reclaimable: report.imageReclaimable,
    }),
    row('Containers', {
      total: containers.length,
      active: containers.length - idle.length,
      size: sum(containers),
      reclaimable: sum(idle),
    }),
    row('Local Volumes', {
      total: volumes.length,
      active: volumes.length - unused.length,
      size: sum(volumes),
      reclaimable: sum(unused),
    }),
    row('Build Cache', {
      total: cache.length,
      active: cache.filter(({ isInUse }) => isInUse).length,
      size: report.cacheSize,
      reclaimable: report.cacheReclaimable,
    }),
  ];
}

export function cacheRow(unit: CacheUsage, nowMs: number, whole = false): Struct {
  const since = (time: number): string => `${humanDuration(Math.max(0, (nowMs - time) / 1000))} ago`;
  return {
    CacheType: unit.type,
    CreatedAt: goTime(new Date(unit.created).toISOString()),
    CreatedSince: since(unit.created),
    Description: ellipsis(unit.description, whole ? 200 : 60),
    ID: shortID(unit.id),
    InUse: String(unit.isInUse),
    LastUsedAt: goTime(new Date(unit.used).toISOString()),
    LastUsedSince: since(unit.used),
    Shared: String(unit.isShared),
    Size: decimalSize(unit.size),
  };
}

export interface Section {
  readonly title: string;
  readonly view: ListView;
  readonly rows: readonly Struct[];
}

/** What `-v` shows, one table after the other. */
export function usageSections(report: UsageReport, nowMs: number): readonly Section[] {
  const images = report.images.flatMap(({ image, size, shared }) =>
    (image.tags.length === 0 ? [undefined] : image.tags.map(({ name }) => name)).map(
      (name): Struct => ({
        Containers: String(image.containers),
        CreatedSince: age(image.config.created, nowMs),
        ID: shortID(image.id),
        Repository: name === undefined ? '<none>' : repositoryOf(name),
        SharedSize: decimalSize(shared),
        Size: decimalSize(size),
        Tag: name === undefined ? '<none>' : name.slice(name.lastIndexOf(':') + 1),
        UniqueSize: decimalSize(size - shared),
      }),
    ),
  );
  const containers = report.containers.map(({ container, size }) => ({
    ...containerRow({ container, networks: [], ports: [], exposed: [] }, nowMs, false),
    Size: decimalSize(size),
  }));
  return [
    { title: 'Images space usage:', view: IMAGE_USAGE, rows: images },
    { title: 'Containers space usage:', view: CONTAINER_USAGE, rows: containers },
    {
      title: 'Local Volumes space usage:',
      view: VOLUME_USAGE,
      rows: report.volumes.map(({ volume, size, links }) => volumeRow(volume, { size, links })),
    },
    {
      title: `Build cache usage: ${decimalSize(report.cacheSize)}`,
      view: CACHE_LIST,
      rows: report.cache.toSorted((a, b) => b.used - a.used).map((unit) => cacheRow(unit, nowMs)),
    },
  ];
}

/** `tsbuild prune`, `builder prune`, `image prune`, `system prune`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pruneContainers } from '../../engine/containers/remove.ts';
import { pruneCache, pruneImages } from '../../engine/gc/prune.ts';
import type { Collected } from '../../engine/gc/collect.ts';
import type { ImageEntry } from '../../engine/gc/roots.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList } from '../format/rows.ts';
import { parseBytes } from '../quantities.ts';
import type { Session } from '../session.ts';
import { CACHE_LIST, cacheRow } from '../views/usage.ts';
import { decimalSize } from '../views/words.ts';
import { isMeant } from './is-meant.ts';
import { parseCacheFilters, parseThingFilters, type ThingFilter } from './prune-filters.ts';

export async function runCachePrune(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const { stdout, host } = session;
  const all = flags.boolean('all');
  const filter = parseCacheFilters(flags.list('filter'), host.now());
  const keep = flags.text('max-used-space') ?? flags.text('keep-storage');
  const keepBytes = keep === undefined ? {} : { keepBytes: parseKeep(keep) };
  const what = all ? 'all of the build cache' : 'what of the build cache made no image of the store';
  if (!(await isMeant(flags, session, [what]))) return 0;
  const { removed, freed } = pruneCache(engine, { all, ...filter, ...keepBytes });
  const format = flags.text('format');
  if (format === 'json') {
    stdout.write(`${JSON.stringify({ freed, removed: removed.length })}\n`);
    return 0;
  }
  if (removed.length > 0 && (flags.boolean('verbose') || format !== undefined)) {
    const rows = removed.map(({ unit, size }) => cacheRow({ ...unit, size }, host.now(), true));
    stdout.write(`${formatList(CACHE_LIST, rows, { format })}\n`);
  }
  // As docker prints it for the build cache.
  stdout.write(`Total:\t${decimalSize(freed)}\n`);
  return 0;
}

/** `0` keeps nothing. */
function parseKeep(text: string): number {
  return /^0(?:[kmgt]?i?b?)$/i.test(text) ? 0 : parseBytes(text, 'size to keep');
}

export async function runImagePrune(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const { dangling, rest } = takeDangling(flags.list('filter'));
  const all = flags.boolean('all') || dangling === false;
  const filter = parseThingFilters(rest, session.host.now());
  const what = all ? 'all images that no container is made of' : 'all images without a name';
  if (!(await isMeant(flags, session, [what]))) return 0;
  const collected = pruneImages(engine, selectImages(all, filter));
  session.stdout.write(`${deletedImages(collected)}Total reclaimed space: ${decimalSize(collected.freed)}\n`);
  return 0;
}

/** `dangling=false` is docker's older word for --all. */
function takeDangling(texts: readonly string[]): {
  readonly dangling: boolean | undefined;
  readonly rest: readonly string[];
} {
  const own = texts.filter((text) => /^dangling=(?:true|false|0|1)$/.test(text));
  const last = own.at(-1);
  return {
    dangling: last === undefined ? undefined : /=(?:true|1)$/.test(last),
    rest: texts.filter((text) => !own.includes(text)),
  };
}

function selectImages(all: boolean, filter: ThingFilter): (image: ImageEntry) => boolean {
  return (image) =>
    (all || image.tags.length === 0) &&
    filter({
      labels: image.config.config.Labels ?? {},
      created: Date.parse(image.config.created ?? '') || 0,
    });
}

function deletedImages({ removed }: Collected): string {
  if (removed.length === 0) return '';
  const lines = removed.flatMap(({ unit }) => [
    ...unit.names.map((name) => `untagged: ${name}`),
    `deleted: ${unit.id}`,
  ]);
  return `Deleted Images:\n${lines.join('\n')}\n\n`;
}

export async function runSystemPrune(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const { stdout, host } = session;
  const [all, volumes] = [flags.boolean('all'), flags.boolean('volumes')];
  const texts = flags.list('filter');
  const filter = parseThingFilters(texts, host.now());
  const whats = [
    'all containers that do not run',
    'all networks that no container uses',
    ...(volumes ? ['all anonymous volumes that no container has'] : []),
    all ? 'all images that no container is made of' : 'all images without a name',
    'the build cache',
  ];
  if (!(await isMeant(flags, session, whats))) return 0;
  const isJson = flags.text('format') === 'json';
  const say = (title: string, names: readonly string[]): void => {
    if (names.length > 0 && !isJson) stdout.write(`Deleted ${title}:\n${names.join('\n')}\n\n`);
  };
  let freed = 0;
  const containers = await pruneContainers(engine, ({ config }) =>
    filter({ labels: config.labels, created: Date.parse(config.created) }),
  );
  say('Containers', containers.removed);
  freed += containers.freed;
  say('Networks', await networksOf(session, filter));
  if (volumes) {
    const pruned = engine.volumes.prune(
      ({ anonymous, labels, created }) => anonymous && filter({ labels, created: Date.parse(created) }),
    );
    say('Volumes', pruned.removed);
    freed += pruned.freed;
  }
  const images = pruneImages(engine, selectImages(all, filter));
  if (!isJson) stdout.write(deletedImages(images));
  // Steps have no labels: docker leaves the cache alone where a label is asked for.
  const times = texts.filter((text) => text.startsWith('until='));
  const cache =
    times.length < texts.length
      ? { removed: [], freed: 0 }
      : pruneCache(engine, { all, ...parseCacheFilters(times, host.now()) });
  say(
    'build cache objects',
    cache.removed.map(({ unit }) => unit.id.replace(/^sha256:/, '')),
  );
  freed += images.freed + cache.freed;
  stdout.write(isJson ? `${JSON.stringify({ freed })}\n` : `Total reclaimed space: ${decimalSize(freed)}\n`);
  return 0;
}

async function networksOf(session: Session, filter: ThingFilter): Promise<readonly string[]> {
  if (!existsSync(join(session.engine().options.root, 'networks'))) return [];
  const { pruneNetworks } = await import('./network.ts');
  return pruneNetworks(session, ({ labels, created }) => filter({ labels, created: Date.parse(created) }));
}

/** Commands about images in the store: import, images, rmi, tag, inspect, history. */
import { createReadStream, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { importImage } from '../../engine/import.ts';
import { familiarName, parseReference, withDefaultTag } from '../../oci/reference.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { shortID } from '../../runtime/container.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import { renderError } from '../render/error.ts';
import { formatList } from '../format/rows.ts';
import type { Session } from '../session.ts';
import { HISTORY_LIST, historyRow, IMAGE_DIGEST_TABLE, IMAGE_LIST, imageRow } from '../views/images.ts';
import { forEach } from './for-each.ts';
import { matchesName, parseImageFilters } from './image-filters.ts';

export async function runImport(flags: ParsedFlags, session: Session): Promise<number> {
  const [path = '', name = ''] = flags.words;
  const engine = session.engine();
  const platform = flags.text('platform');
  const file = resolve(session.cwd, path);
  if (path !== '-' && statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new TsbuildError('IO_FAILED', `cannot find the file ${JSON.stringify(path)}`, {
      hint: 'name a tar of a root file system, or - for standard input',
    });
  const source =
    path === '-'
      ? (session.stdin as AsyncIterable<Uint8Array>)
      : (createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>);
  const epoch = session.env['SOURCE_DATE_EPOCH'] ?? '';
  const renderer = createRenderer(flags, session);
  try {
    const image = await importImage(
      engine,
      {
        source,
        from: path,
        name,
        platform: platform === undefined ? engine.options.platform : parsePlatform(platform),
        ...(/^\d{1,12}$/.test(epoch) ? { created: Number(epoch) } : {}),
      },
      { sink: renderer, signal: session.signal },
    );
    session.stdout.write(`${image.id}\n`);
  } finally {
    renderer.end();
  }
  return 0;
}

export async function runImages(flags: ParsedFlags, session: Session): Promise<number> {
  const { images, containers } = session.engine();
  const used = new Map<string, number>();
  for (const { config } of containers.list()) used.set(config.image.id, (used.get(config.image.id) ?? 0) + 1);
  const [wanted] = flags.words;
  const filter = parseImageFilters(flags.list('filter'));
  const all = (await images.list()).toSorted((a, b) =>
    (b.config.created ?? '').localeCompare(a.config.created ?? ''),
  );
  const listed = all.flatMap((image) =>
    (image.tags.length === 0 ? [undefined] : image.tags)
      .filter((tag) => filter(image, tag, all) && (wanted === undefined || matchesName(tag, wanted)))
      .map((tag) => ({ image, tag, size: images.sizeOf(image), containers: used.get(image.id) ?? 0 })),
  );
  const isQuiet = flags.boolean('quiet');
  const whole = flags.boolean('no-trunc');
  const rows = listed.map((each) => imageRow(each, session.host.now(), whole));
  const digests = flags.boolean('digests') ? IMAGE_DIGEST_TABLE : undefined;
  const shown = isQuiet
    ? rows.filter(({ ID }, at) => rows.findIndex((row) => row['ID'] === ID) === at)
    : rows;
  session.stdout.write(
    formatList(IMAGE_LIST, shown, { format: flags.text('format') ?? digests, quiet: isQuiet }),
  );
  return 0;
}

export async function runRmi(flags: ParsedFlags, session: Session): Promise<number> {
  const isForced = flags.boolean('force');
  return forEach(flags.words, session, async (name) => {
    try {
      await removeImage(name, isForced, session);
    } catch (error) {
      // As docker: what is not there need not be removed, and is told all the same.
      if (!isForced || !isTsbuildError(error, 'IMAGE_NOT_FOUND')) throw error;
      session.stderr.write(renderError(error, { color: session.stderr.isTTY, debug: false }));
    }
  });
}

async function removeImage(name: string, isForced: boolean, session: Session): Promise<void> {
  const { images, containers, leases } = session.engine();
  const image = await images.require(name);
  const isID = !image.tags.includes(nameOf(name));
  if (isID && image.tags.length > 1 && !isForced)
    throw new TsbuildError(
      'IMAGE_IN_USE',
      `${JSON.stringify(name)} has ${image.tags.length} names: ${image.tags.join(', ')}`,
      { hint: 'remove the names, or use --force' },
    );
  const removed = isID ? image.tags : [nameOf(name)];
  const user = containers.list().find(({ config }) => config.image.id === image.id);
  if (user !== undefined && removed.length >= image.tags.length && !isForced)
    throw new TsbuildError(
      'IMAGE_IN_USE',
      `cannot remove image ${JSON.stringify(name)}: container ${JSON.stringify(user.config.name)} (${shortID(user.id)}) is made of it`,
      { hint: 'remove the container first, or use --force' },
    );
  for (const tag of removed) {
    images.untag(parseReference(tag));
    session.stdout.write(`Untagged: ${tag}\n`);
  }
  if (removed.length < image.tags.length) return;
  // Whoever is pushing or saving it may do so to the end; garbage collection gets the config then.
  images.remove(image.id, { keepsConfig: leases.isHeldElsewhere('blob', image.id) });
  session.stdout.write(`Deleted: ${image.id}\n`);
}

/** The name as the store lists it; an id stays as it is. */
function nameOf(text: string): string {
  try {
    return familiarName(withDefaultTag(parseReference(text)));
  } catch {
    return text;
  }
}

export async function runTag(flags: ParsedFlags, session: Session): Promise<number> {
  const [from = '', to = ''] = flags.words;
  const { images, leases } = session.engine();
  using _lease = leases.enter();
  const image = await images.require(from);
  images.tag(parseReference(to), image.id);
  return 0;
}

export async function runHistory(flags: ParsedFlags, session: Session): Promise<number> {
  const { images, layers } = session.engine();
  const image = await images.require(flags.words[0] ?? '');
  let layer = 0;
  const lines = image.config.history.map((entry) => {
    const diffID = entry.empty_layer === true ? undefined : image.config.rootfs.diff_ids[layer++];
    return { entry, size: diffID === undefined ? 0 : (layers.get(diffID)?.size ?? 0) };
  });
  const options = { whole: flags.boolean('no-trunc'), human: flags.boolean('human') };
  const rows = lines
    .toReversed()
    .map((line, at) =>
      historyRow({ ...line, id: at === 0 ? image.id : undefined }, session.host.now(), options),
    );
  session.stdout.write(
    formatList(HISTORY_LIST, rows, { format: flags.text('format'), quiet: flags.boolean('quiet') }),
  );
  return 0;
}

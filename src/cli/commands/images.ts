/** Commands about images in the store: import, images, rmi, tag, inspect, history. */
import { createReadStream, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { importImage } from '../../engine/import.ts';
import type { StoredImage } from '../../image/image-store.ts';
import { familiarName, parseReference, withDefaultTag } from '../../oci/reference.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import { formatBytes } from '../render/model.ts';
import type { Session } from '../session.ts';
import { age, table } from '../table.ts';

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

function shortID(id: string, whole: boolean): string {
  return whole ? id : id.slice('sha256:'.length, 'sha256:'.length + 12);
}

export async function runImages(flags: ParsedFlags, session: Session): Promise<number> {
  const { images } = session.engine();
  const all = (await images.list()).toSorted((a, b) =>
    (b.config.created ?? '').localeCompare(a.config.created ?? ''),
  );
  const rows = all.flatMap((image) =>
    (image.tags.length === 0 ? ['<none>:<none>'] : image.tags).map((tag) => ({ image, tag })),
  );
  const { stdout, host } = session;
  const whole = flags.boolean('no-trunc');
  if (flags.text('format') === 'json') {
    for (const { image, tag } of rows)
      stdout.write(
        `${JSON.stringify({ Repository: repositoryOf(tag), Tag: tagOf(tag), ID: image.id, CreatedAt: image.config.created ?? '', Size: formatBytes(images.sizeOf(image)) })}\n`,
      );
  } else if (flags.boolean('quiet'))
    stdout.write([...new Set(all.map(({ id }) => `${shortID(id, whole)}\n`))].join(''));
  else
    stdout.write(
      table(
        ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE'],
        rows.map(({ image, tag }) => [
          repositoryOf(tag),
          tagOf(tag),
          shortID(image.id, whole),
          age(image.config.created, host.now()),
          formatBytes(images.sizeOf(image)),
        ]),
      ),
    );
  return 0;
}

function repositoryOf(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}

function tagOf(name: string): string {
  return name.slice(name.lastIndexOf(':') + 1);
}

export async function runRmi(flags: ParsedFlags, session: Session): Promise<number> {
  const { images } = session.engine();
  for (const name of flags.words) {
    const image = await images.require(name);
    const isID = !image.tags.includes(nameOf(name));
    if (isID && image.tags.length > 1 && !flags.boolean('force'))
      throw new TsbuildError(
        'IMAGE_IN_USE',
        `${JSON.stringify(name)} has ${image.tags.length} names: ${image.tags.join(', ')}`,
        { hint: 'remove the names, or use --force' },
      );
    const removed = isID ? image.tags : [nameOf(name)];
    for (const tag of removed) {
      images.untag(parseReference(tag));
      session.stdout.write(`Untagged: ${tag}\n`);
    }
    if (removed.length >= image.tags.length) {
      images.remove(image.id);
      session.stdout.write(`Deleted: ${image.id}\n`);
    }
  }
  return 0;
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
  const { images } = session.engine();
  const image = await images.require(from);
  images.tag(parseReference(to), image.id);
  return 0;
}

export async function runInspect(flags: ParsedFlags, session: Session): Promise<number> {
  const { images } = session.engine();
  const shown = [];
  for (const name of flags.words)
    shown.push(describe(await images.require(name), images.sizeOf(await images.require(name))));
  session.stdout.write(`${JSON.stringify(shown, null, 4)}\n`);
  return 0;
}

function describe({ id, config, tags, manifest }: StoredImage, size: number): object {
  const repositories = new Set(tags.map(repositoryOf));
  return {
    Id: id,
    RepoTags: tags,
    RepoDigests: manifest === undefined ? [] : [...repositories].map((name) => `${name}@${manifest.digest}`),
    Created: config.created ?? '',
    Author: config.author ?? '',
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: size,
    Config: config.config,
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
  };
}

export async function runHistory(flags: ParsedFlags, session: Session): Promise<number> {
  const { images, layers } = session.engine();
  const image = await images.require(flags.words[0] ?? '');
  const whole = flags.boolean('no-trunc');
  let layer = 0;
  const rows = image.config.history.map((entry) => {
    const diffID = entry.empty_layer === true ? undefined : image.config.rootfs.diff_ids[layer++];
    const size = diffID === undefined ? 0 : (layers.get(diffID)?.size ?? 0);
    return { entry, size };
  });
  const { stdout, host } = session;
  if (flags.text('format') === 'json') {
    for (const { entry, size } of rows.toReversed())
      stdout.write(
        `${JSON.stringify({ CreatedAt: entry.created ?? '', CreatedBy: entry.created_by ?? '', Size: formatBytes(size), Comment: entry.comment ?? '' })}\n`,
      );
    return 0;
  }
  const cut = (text: string): string => (whole || text.length <= 45 ? text : `${text.slice(0, 44)}…`);
  stdout.write(
    table(
      ['IMAGE', 'CREATED', 'CREATED BY', 'SIZE', 'COMMENT'],
      rows
        .toReversed()
        .map(({ entry, size }, index) => [
          index === 0 ? shortID(image.id, whole) : '<missing>',
          age(entry.created, host.now()),
          cut((entry.created_by ?? '').replace(/\s+/g, ' ')),
          formatBytes(size),
          entry.comment ?? '',
        ]),
    ),
  );
  return 0;
}

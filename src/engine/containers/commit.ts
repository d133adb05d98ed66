/** `commit`, `diff`, `export`: a container's own layer as an image, as a list, and its root as a tar. */
import { createReadStream } from 'node:fs';
import { toText } from '../../base/byte-string.ts';
import { ioError } from '../../base/errors.ts';
import type { StoredImage } from '../../image/image-store.ts';
import { emptyTree } from '../../layer/open-tree.ts';
import { packDifference } from '../../layer/pack.ts';
import { readTar } from '../../layer/tar-reader.ts';
import { whiteoutMeaning } from '../../layer/whiteout.ts';
import { formatTime, type RunConfig } from '../../oci/documents.ts';
import type { Reference } from '../../oci/reference.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';
import { packChanges, withContainerTree } from './layer.ts';
import { spoolTar } from './spool-tar.ts';

export interface CommitRequest {
  readonly reference?: Reference;
  readonly message?: string;
  readonly author?: string;
  /** The image's config after what `-c` changed. */
  readonly change: (config: RunConfig) => RunConfig;
}

/** Resolves with the new image: the container's image and one layer more. Throws IMAGE_NOT_FOUND, DISK_FULL. */
export async function commitContainer(
  engine: Engine,
  container: StoredContainer,
  request: CommitRequest,
  signal: AbortSignal,
): Promise<StoredImage> {
  using _lease = engine.leases.enter();
  const { images, layers, host } = engine;
  const base = await images.require(container.config.image.id);
  using writer = layers.create();
  await packChanges(engine, container, writer, { signal, now: () => host.now() });
  const layer = writer.commit();
  const created = formatTime(host.now());
  const { message, author } = request;
  const image = images.put({
    ...base.config,
    created,
    ...(author === undefined ? {} : { author }),
    config: request.change(configOf(container, base)),
    rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, layer.diffID] },
    history: [
      ...base.config.history,
      {
        created,
        created_by: container.config.input.args.join(' '),
        ...(author === undefined ? {} : { author }),
        ...(message === undefined ? {} : { comment: message }),
      },
    ],
  });
  if (request.reference !== undefined) images.tag(request.reference, image.id);
  return image;
}

/** As the container was started: what run changed of the image's config is the new image's. */
function configOf({ config }: StoredContainer, base: StoredImage): RunConfig {
  const { input, entrypoint, command, user, labels } = config;
  return {
    ...base.config.config,
    Env: input.env,
    Cmd: command,
    ...(entrypoint.length === 0 ? {} : { Entrypoint: entrypoint }),
    ...(user === '' ? {} : { User: user }),
    WorkingDir: input.cwd === '/' ? (base.config.config.WorkingDir ?? '') : input.cwd,
    Labels: labels,
  };
}

export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
}

/** What the container added, changed and deleted, in the order of paths. */
export async function containerChanges(
  engine: Engine,
  container: StoredContainer,
  signal: AbortSignal,
): Promise<readonly Change[]> {
  using tar = await spoolTar(engine, (out) =>
    packChanges(engine, container, out, { signal, now: () => engine.host.now() }),
  );
  return await withContainerTree(engine, container, async (_, below) => {
    const changes: Change[] = [];
    for await (const { entry } of readTar(createReadStream(tar.path))) {
      const slash = entry.path.lastIndexOf('/');
      const whiteout = whiteoutMeaning(entry.path.slice(slash + 1));
      const directory = entry.path.slice(0, slash + 1);
      if (whiteout?.kind === 'delete')
        changes.push({ kind: 'D', path: `/${toText(directory + whiteout.name)}` });
      else if (whiteout === undefined) {
        const kind = below.lstat(entry.path) === undefined ? 'A' : 'C';
        changes.push({ kind, path: `/${toText(entry.path.replace(/\/$/, ''))}` });
      }
    }
    return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
  });
}

/** The container's root as one tar, without what is mounted into it. */
export async function exportContainer(
  engine: Engine,
  container: StoredContainer,
  out: { write(bytes: Uint8Array): void },
  signal: AbortSignal,
): Promise<void> {
  try {
    await withContainerTree(engine, container, (tree) =>
      packDifference(emptyTree(), tree, out, { signal, now: () => engine.host.now() }),
    );
  } catch (error) {
    throw ioError('export a container', error);
  }
}

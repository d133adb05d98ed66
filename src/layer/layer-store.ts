/**
 * The layer store: uncompressed tars by diffID, each complete and hashed before it is visible.
 *
 * `layers/sha256/aa/<hex>.tar`; what is being written lies in `layers/partial`, under a
 * name that tells its owner; what killed owners left is swept before the first write. `layers/unsynced`: see
 * unsynced.ts.
 */
import {
  existsSync,
  closeSync,
  createReadStream,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createDigester, hexOf, isDigest, type DiffID } from '../base/digest.ts';
import { namesIn } from '../base/directory-names.ts';
import { errnoOf, ioError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { sweepUnowned } from '../base/owner.ts';
import { noRetention, type Retention } from '../base/retention.ts';
import { createLayerGrowth, type LayerGrowth } from './growing-layer.ts';
import { openTar } from './open-tar.ts';
import { openUnsyncedNotes } from './unsynced.ts';
import type { Layer, LayerStore, LayerWriter } from './layer.ts';

const READ_SIZE = 1 << 20;

export function openLayerStore(root: string, host: Host, retention: Retention = noRetention): LayerStore {
  const partial = join(root, 'partial');
  const placeOf = (diffID: DiffID): string => {
    const hex = hexOf(diffID);
    return join(root, 'sha256', hex.slice(0, 2), `${hex.slice(2)}.tar`);
  };

  const own = new Set<DiffID>();

  function open(diffID: DiffID, path: string, size: number): Layer {
    const tar = (): ReturnType<typeof createReadStream> =>
      createReadStream(path, { highWaterMark: READ_SIZE });
    return { diffID, size, path, ...(own.has(diffID) ? { isOwn: true } : {}), tar };
  }

  function made(diffID: DiffID, path: string, size: number): Layer {
    own.add(diffID);
    return open(diffID, path, size);
  }

  const placeOfHex = (hex: string): string | undefined => {
    const diffID = `sha256:${hex}`;
    return isDigest(diffID) ? placeOf(diffID as DiffID) : undefined;
  };
  const notes = openUnsyncedNotes(
    join(root, 'unsynced'),
    host,
    (hex) => {
      const path = placeOfHex(hex);
      if (path !== undefined) rmSync(path, { force: true });
    },
    (hex) => {
      const path = placeOfHex(hex);
      return path !== undefined && existsSync(path);
    },
  );
  let swept = false;
  return {
    create() {
      if (!swept) sweepUnowned(partial);
      swept = true;
      return createWriter(partial, host, placeOf, made, (diffID, size) => {
        retention.hold('layer', diffID);
        retention.reserve(() => size);
        notes.note(hexOf(diffID));
      });
    },
    get(diffID) {
      retention.hold('layer', diffID);
      const path = placeOf(diffID);
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? undefined : open(diffID, path, stat.size);
    },
    remove(diffID) {
      rmSync(placeOf(diffID), { force: true });
    },
    *list() {
      for (const shard of namesIn(join(root, 'sha256')))
        for (const name of namesIn(join(root, 'sha256', shard))) {
          const diffID = `sha256:${shard}${name.replace(/\.tar$/, '')}`;
          if (isDigest(diffID)) yield diffID as DiffID;
        }
    },
    unsynced: notes.take,
  };
}

function createWriter(
  partial: string,
  host: Host,
  placeOf: (diffID: DiffID) => string,
  made: (diffID: DiffID, path: string, size: number) => Layer,
  announce: (diffID: DiffID, size: number) => void,
): LayerWriter {
  const temp = join(partial, host.unique());
  const digester = createDigester();
  let fd: number | undefined;
  try {
    mkdirSync(partial, { recursive: true });
    fd = openSync(temp, 'wx', 0o644);
  } catch (error) {
    throw ioError('create a layer', error);
  }
  const descriptor = fd;
  let whole: { readonly diffID: DiffID; readonly size: number } | undefined;
  let growth: LayerGrowth | undefined;
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  return {
    write(bytes) {
      if (fd === undefined) throw ioError('write a layer', new Error('the layer is closed'));
      digester.update(bytes);
      try {
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      } catch (error) {
        throw ioError('write a layer', error);
      }
    },
    descriptor,
    grown(size, onPacking) {
      const isFirst = growth === undefined;
      growth ??= createLayerGrowth(() => openTar(temp));
      growth.grown(size);
      if (isFirst) onPacking(growth.layer);
    },
    written(diffID, size) {
      whole = { diffID, size };
    },
    commit() {
      close();
      const { diffID, size } = whole ?? { diffID: digester.digest() as DiffID, size: digester.size };
      const path = placeOf(diffID);
      try {
        announce(diffID, size);
        try {
          renameSync(temp, path);
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') throw error;
          mkdirSync(join(path, '..'), { recursive: true });
          renameSync(temp, path);
        }
      } catch (error) {
        rmSync(temp, { force: true });
        throw ioError('keep a layer', error);
      }
      const layer = made(diffID, path, size);
      growth?.end(layer);
      return layer;
    },
    [Symbol.dispose]() {
      close();
      growth?.end(undefined);
      rmSync(temp, { force: true });
    },
  };
}

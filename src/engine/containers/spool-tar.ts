/** A tar in a temporary file: packing writes faster than whoever reads it may want to take it. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { ioError } from '../../base/errors.ts';
import type { Engine } from '../engine.ts';

export interface SpooledTar extends Disposable {
  readonly path: string;
}

/** Disposing removes it. Throws DISK_FULL, IO_FAILED. */
export async function spoolTar(
  engine: Engine,
  pack: (out: { write(bytes: Uint8Array): void }) => Promise<void>,
): Promise<SpooledTar> {
  const path = engine.spool();
  const fd = openSync(path, 'wx', 0o600);
  const remove = (): void => rmSync(path, { force: true });
  try {
    await pack({
      write(bytes) {
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      },
    });
  } catch (error) {
    remove();
    throw ioError('write a tar', error);
  } finally {
    closeSync(fd);
  }
  return { path, [Symbol.dispose]: remove };
}

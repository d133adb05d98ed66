/**
 * How this machine mounts the images of driver `erofs`: tried with a tiny one, from the cheapest way to the dearest.
 *
 * Linux 6.12 mounts files, 6.4 loop devices of them (blocks of 512 bytes are as old as that); since 6.15 overlayfs takes
 * images that are attached nowhere. Root in the first user namespace alone may mount them.
 */
import { closeSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LayerImage } from '../native/mount.ts';
import { closeImage, openOverlayRoot } from '../native/overlay.ts';
import { digestOf, type DiffID } from '../src/base/digest.ts';
import { encodeHeader, padding } from '../src/layer/tar-header.ts';
import { indexTars } from './tar-calls.ts';
import { makeProbeDirectories } from './probe-directories.ts';
import { EMPTY_ROOT } from './root-attributes.ts';

export type ErofsSupport = Pick<LayerImage, 'device' | 'attached'>;

export type ErofsAnswer =
  | { readonly usable: true; readonly support: ErofsSupport }
  | { readonly usable: false; readonly reason: string };

const WAYS: readonly ErofsSupport[] = [
  { device: 'file', attached: false },
  { device: 'file', attached: true },
  { device: 'loop', attached: false },
  { device: 'loop', attached: true },
];

const CONTENT = 'EROFS';

/** `directory` is new, on the file system that shall hold the images; it is removed again. */
export async function tryErofs(directory: string): Promise<ErofsAnswer> {
  const reasons: string[] = [];
  try {
    const image = await makeProbe(directory);
    for (const way of WAYS) {
      const failure = tryWay({ ...image, ...way }, mkdtempSync(join(directory, 'way-')));
      if (failure === undefined) return { usable: true, support: way };
      reasons.push(`${way.device === 'file' ? 'files' : 'loop devices'}: ${failure}`);
    }
  } catch (error) {
    reasons.push(error instanceof Error ? error.message : String(error));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return { usable: false, reason: [...new Set(reasons)].join('; ') };
}

async function makeProbe(directory: string): Promise<{ readonly index: string; readonly tars: string[] }> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const [index, tar] = [join(directory, 'index'), join(directory, 'tar')];
  const entry = {
    path: 'file',
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: CONTENT.length,
    mtime: 0,
  } as const;
  const bytes = Buffer.concat([
    encodeHeader(entry),
    Buffer.from(CONTENT),
    padding(CONTENT.length),
    Buffer.alloc(1024),
  ]);
  writeFileSync(tar, bytes);
  const diffID = digestOf(bytes) as DiffID;
  await indexTars({ output: index, tars: [{ path: tar, diffID, verify: false }], root: EMPTY_ROOT });
  return { index, tars: [tar] };
}

/** undefined: it works. An overlay that is written to is tried, because file systems may be good for others alone. */
function tryWay(image: LayerImage, directory: string): string | undefined {
  try {
    const { lower, upper, work } = makeProbeDirectories(directory);
    const fd = openOverlayRoot([image, lower], upper, work);
    try {
      const root = `/proc/self/fd/${fd}/`;
      return readdirSync(root).length === 1 && readFileSync(`${root}file`, 'utf8') === CONTENT
        ? undefined
        : 'a file did not have its content';
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    closeImage(image.index);
  }
}

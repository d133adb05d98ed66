/** `oci-layout://PATH[:TAG|@DIGEST]`: an image of a layout on disk, without a name in the store. */
import { TsbuildError } from '../base/errors.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { Platform } from '../oci/documents.ts';
import type { Engine } from './engine.ts';
import { directoryFiles, findInLayout, layoutSource } from './layout-files.ts';
import { storeImage } from './pull.ts';
import type { CallOptions } from './with-vertex.ts';

export interface LayoutSpec {
  readonly path: string;
  /** A tag, or `@` and a digest; absent: latest, or the only one. */
  readonly select?: string;
}

/** Throws CONTEXT_NOT_FOUND, IMAGE_NOT_FOUND. */
export async function openLayoutImage(
  engine: Engine,
  { path, select }: LayoutSpec,
  platform: Platform,
  options: CallOptions,
): Promise<StoredImage> {
  using files = directoryFiles(path);
  if (!files.has('index.json') || !files.has('oci-layout'))
    throw new TsbuildError('CONTEXT_NOT_FOUND', `${JSON.stringify(path)} is not an OCI layout`, {
      hint: 'give the directory that holds index.json and oci-layout',
    });
  const chosen = findInLayout(files, path, select);
  return await storeImage(engine, layoutSource(files), chosen, platform, `layout ${path}`, options);
}

/** The config of a built image, as its bytes are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Workspace } from './fixture.ts';

export interface BuiltConfig {
  readonly text: string;
  readonly architecture: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly created: string;
  readonly history: readonly {
    readonly created_by: string;
    readonly empty_layer?: boolean;
    readonly created: string;
    readonly comment: string;
  }[];
  readonly rootfs: { readonly diff_ids: readonly string[] };
  /** Digests of the layers' blobs, and where they lie. */
  readonly layers: readonly string[];
  readonly blobPath: (digest: string) => string;
}

let serial = 0;

/** Builds `context` into a layout and reads its config; `args` go to the build. */
export function readImageConfig(space: Workspace, context: string, ...args: readonly string[]): BuiltConfig {
  serial += 1;
  const layout = join(space.directory, `config${serial}`);
  const output = `type=oci,dest=${layout},tar=false,compression=uncompressed`;
  space.ok(['build', '-q', '-o', output, ...args, context]);
  return readLayoutConfig(layout);
}

/** The config of the only image of a layout. */
export function readLayoutConfig(layout: string): BuiltConfig {
  const blobPath = (digest: string): string => join(layout, 'blobs', digest.replace(':', '/'));
  const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
  const index = read(join(layout, 'index.json')) as { manifests: { digest: string }[] };
  const manifest = read(blobPath(index.manifests[0]?.digest ?? '')) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  const text = readFileSync(blobPath(manifest.config.digest), 'utf8');
  const config = JSON.parse(text) as Omit<BuiltConfig, 'text' | 'layers' | 'blobPath'>;
  return { ...config, text, layers: manifest.layers.map(({ digest }) => digest), blobPath };
}

/**
 * What this machine remembers of a cache mount that travels: with which state elsewhere its directory was last made
 * equal, and what its files were like then. Losing it costs reading the files again, nothing else.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { readFileSync, rmSync } from 'node:fs';
import { writeFileAtomic } from '../../../base/atomic-file.ts';
import type { ByteString } from '../../../base/byte-string.ts';
import type { Host } from '../../../base/host.ts';
import { isJsonObject } from '../../../base/json.ts';
import type { Chunk } from './mount-index.ts';
import type { KnownFile } from './scan.ts';

export interface MountState {
  /** Digest of the manifest that the directory was like, by place. */
  readonly synced: Readonly<Record<string, string>>;
  readonly files: ReadonlyMap<ByteString, KnownFile>;
}

export const NO_STATE: MountState = { synced: {}, files: new Map() };

export function readMountState(path: string): MountState {
  try {
    const value: unknown = JSON.parse(gunzipSync(readFileSync(path)).toString('utf8'));
    if (!isJsonObject(value) || !isJsonObject(value['synced']) || !Array.isArray(value['files']))
      return NO_STATE;
    return {
      synced: value['synced'] as Record<string, string>,
      files: new Map(
        (value['files'] as readonly [ByteString, string, readonly [string, number][]][]).map(
          ([name, key, chunks]) => [
            name,
            { key, chunks: chunks.map(([digest, size]): Chunk => ({ digest, size })) },
          ],
        ),
      ),
    };
  } catch {
    return NO_STATE;
  }
}

export function writeMountState(path: string, { synced, files }: MountState, host: Host): void {
  const rows = [...files].map(([name, { key, chunks }]) => [
    name,
    key,
    chunks.map(({ digest, size }) => [digest, size]),
  ]);
  writeFileAtomic(host, path, gzipSync(JSON.stringify({ synced, files: rows }), { level: 1 }));
}

export function dropMountState(path: string): void {
  rmSync(path, { force: true });
}

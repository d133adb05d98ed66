/**
 * The local store of step records: one JSON file per cache key, sharded, written by temp + rename.
 *
 * A record is written after everything that it names, so whoever finds one finds its layer too, unless it was
 * removed since; the solver checks that. A record that does not parse counts as absent.
 */
import { existsSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { canonicalJson, isJsonObject, type Json } from '../base/json.ts';
import {
  chainIDOf,
  hexOf,
  isDigest,
  type CacheKey,
  type ChainID,
  type Digest,
  type DiffID,
} from '../base/digest.ts';
import type { Host } from '../base/host.ts';
import type { Cause } from '../progress/cause.ts';
import type { StepRecord } from './handler.ts';
import { parseOrigin } from './why/origin.ts';
import type { Result, ResultLayer } from './result.ts';

export interface RecordStore {
  readonly directory: string;
  get(key: CacheKey): StepRecord | undefined;
  put(record: StepRecord): void;
  /** Notes that a record was used now. */
  touch(key: CacheKey): void;
  /** Milliseconds since the epoch; undefined: there is no such record. */
  lastUsed(key: CacheKey): number | undefined;
  /** Digests of content that never changes (paths in a committed snapshot), so that it is read once. */
  getContentDigest(key: CacheKey): Digest | undefined;
  putContentDigest(key: CacheKey, digest: Digest): void;
}

/** `onReplace` is called before and after one record takes another's place: what was said of results may not be so any more. */
export function openRecordStore(root: string, host: Host, onReplace?: () => void): RecordStore {
  const place = (folder: string, key: Digest): string => {
    const hex = hexOf(key);
    return join(root, folder, hex.slice(0, 2), `${hex.slice(2)}.json`);
  };
  return {
    directory: root,
    get(key) {
      return parseRecord(readJsonIfExists(place('steps', key)), key);
    },
    put(record) {
      const path = place('steps', record.key);
      const replaces = onReplace !== undefined && existsSync(path);
      // why twice: whoever is killed in between leaves nothing that is wrong.
      if (replaces) onReplace();
      writeFileAtomic(host, path, canonicalJson(record as unknown as Json));
      if (replaces) onReplace();
    },
    touch(key) {
      const seconds = host.now() / 1000;
      try {
        utimesSync(place('steps', key), seconds, seconds);
      } catch {
        // Somebody pruned it meanwhile, or the disk cannot be written: what was read of it counts all the same.
      }
    },
    lastUsed: (key) => statSync(place('steps', key), { throwIfNoEntry: false })?.mtimeMs,
    getContentDigest(key) {
      const value = readJsonIfExists(place('contents', key));
      return typeof value === 'string' && isDigest(value) ? value : undefined;
    },
    putContentDigest(key, digest) {
      writeFileAtomic(host, place('contents', key), JSON.stringify(digest));
    },
  };
}

/** undefined unless it is a record of that key. Nothing is checked but its form. */
export function parseRecord(value: unknown, key: Digest): StepRecord | undefined {
  if (!isJsonObject(value) || value['key'] !== key || !isJsonObject(value['named'])) return undefined;
  const result = parseResult(value['result']);
  if (result === undefined) return undefined;
  const { tookMs, finished, causes } = value;
  if (typeof tookMs !== 'number' || typeof finished !== 'number') return undefined;
  const origin = parseOrigin(value['origin']);
  return {
    key,
    named: value['named'] as Record<string, Json>,
    result,
    tookMs,
    finished,
    ...(origin === undefined ? {} : { origin }),
    ...(Array.isArray(causes) ? { causes: causes as unknown as readonly Cause[] } : {}),
  };
}

function parseResult(value: unknown): Result | undefined {
  if (!isJsonObject(value)) return undefined;
  if (value['kind'] === 'file') {
    const { blob, size, filename, mtime } = value;
    if (typeof blob !== 'string' || !isDigest(blob)) return undefined;
    if (typeof size !== 'number' || typeof filename !== 'string' || typeof mtime !== 'number')
      return undefined;
    return { kind: 'file', blob, size, filename, mtime };
  }
  if (value['kind'] !== 'stack' || !Array.isArray(value['layers'])) return undefined;
  const layers: ResultLayer[] = [];
  let chain: ChainID | undefined;
  for (const layer of value['layers'] as readonly unknown[]) {
    if (!isJsonObject(layer)) return undefined;
    const { diffID, created } = layer;
    if (typeof diffID !== 'string' || !isDigest(diffID) || typeof created !== 'number') return undefined;
    layers.push({ diffID: diffID as DiffID, created });
    chain = chainIDOf(chain, diffID as DiffID);
  }
  return { kind: 'stack', layers, chain };
}

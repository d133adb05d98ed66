/**
 * The local store of step records: one JSON file per cache key, sharded, written by temp + rename.
 *
 * A record is written after everything that it names, so whoever finds one finds its layer too, unless it was
 * removed since; the solver checks that. A record that does not parse counts as absent.
 */
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
import type { StepRecord } from './handler.ts';
import type { Result, ResultLayer } from './result.ts';

export interface RecordStore {
  get(key: CacheKey): StepRecord | undefined;
  put(record: StepRecord): void;
  /** Digests of content that never changes (paths in a committed snapshot), so that it is read once. */
  getContentDigest(key: CacheKey): Digest | undefined;
  putContentDigest(key: CacheKey, digest: Digest): void;
}

export function openRecordStore(root: string, host: Host): RecordStore {
  const place = (folder: string, key: Digest): string => {
    const hex = hexOf(key);
    return join(root, folder, hex.slice(0, 2), `${hex.slice(2)}.json`);
  };
  return {
    get(key) {
      return parseRecord(readJsonIfExists(place('steps', key)), key);
    },
    put(record) {
      writeFileAtomic(host, place('steps', record.key), canonicalJson(record as unknown as Json));
    },
    getContentDigest(key) {
      const value = readJsonIfExists(place('contents', key));
      return typeof value === 'string' && isDigest(value) ? value : undefined;
    },
    putContentDigest(key, digest) {
      writeFileAtomic(host, place('contents', key), JSON.stringify(digest));
    },
  };
}

function parseRecord(value: unknown, key: Digest): StepRecord | undefined {
  if (!isJsonObject(value) || value['key'] !== key || !isJsonObject(value['named'])) return undefined;
  const result = parseResult(value['result']);
  if (result === undefined) return undefined;
  const { tookMs, finished } = value;
  if (typeof tookMs !== 'number' || typeof finished !== 'number') return undefined;
  return { key, named: value['named'] as Record<string, Json>, result, tookMs, finished };
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

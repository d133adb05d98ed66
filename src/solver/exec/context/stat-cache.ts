/**
 * Digests of files by what stat(2) says of them, so that an unchanged context costs a walk and no reading.
 *
 * A file that changed so recently that a later change could leave the same times is not remembered (git calls such
 * index entries racy). The cache is only ever a short cut: losing it costs time, nothing else.
 */
import { join } from 'node:path';
import { readTextIfExists, writeFileAtomic } from '../../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type Digest } from '../../../base/digest.ts';
import type { Host } from '../../../base/host.ts';
import type { EntryStat } from '../../../layer/tree.ts';

const FORMAT = 'tsbuild stat cache 1';
/** Coarser than the kernel's own clock for inode times (a tick, at most 10 ms). */
const RACY_NS = 100_000_000n;
const MAX_ENTRIES = 500_000;

export interface StatCache {
  get(stat: EntryStat): Digest | undefined;
  put(stat: EntryStat, digest: Digest): void;
  /** Whether this very state of a file was digested by this process: what is packed must be what was keyed. */
  knows(stat: EntryStat): boolean;
  /** Writes what was learnt, where anything was. */
  save(): void;
}

interface Entry {
  readonly key: string;
  readonly digest: Digest;
}

/** The cache of one directory; `root` is the directory of all caches. */
export function openStatCache(root: string, directory: string, host: Host): StatCache {
  const path = join(root, hexOf(digestOf(directory)).slice(0, 32));
  const opened = BigInt(host.now()) * 1_000_000n;
  let entries: Map<string, Entry> | undefined;
  const used = new Map<string, Entry>();
  const seen = new Map<string, string>();
  let learnt = false;
  const load = (): Map<string, Entry> => (entries ??= parse(readTextIfExists(path)));
  return {
    get(stat) {
      const id = `${stat.dev}:${stat.ino}`;
      const entry = load().get(id);
      if (entry === undefined || entry.key !== keyOf(stat)) return undefined;
      used.set(id, entry);
      seen.set(id, entry.key);
      return entry.digest;
    },
    knows: (stat) => seen.get(`${stat.dev}:${stat.ino}`) === keyOf(stat),
    put(stat, digest) {
      seen.set(`${stat.dev}:${stat.ino}`, keyOf(stat));
      const newest = stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs;
      if (newest + RACY_NS > opened) return;
      used.set(`${stat.dev}:${stat.ino}`, { key: keyOf(stat), digest });
      learnt = true;
    },
    save() {
      if (!learnt) return;
      const all = new Map([...load(), ...used]);
      // What this build did not see is kept as long as there is room: other Dockerfiles use other files.
      const kept = all.size > MAX_ENTRIES ? used : all;
      const lines = [...kept].map(([id, { key, digest }]) => `${id} ${key} ${hexOf(digest)}`);
      writeFileAtomic(host, path, `${FORMAT}\n${lines.join('\n')}\n`);
      learnt = false;
    },
  };
}

function keyOf(stat: EntryStat): string {
  return `${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

function parse(text: string | undefined): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  if (text?.startsWith(`${FORMAT}\n`) !== true) return entries;
  for (const line of text.split('\n')) {
    const [id, key, hex] = line.split(' ');
    const digest = `sha256:${hex ?? ''}`;
    if (id !== undefined && key !== undefined && isDigest(digest)) entries.set(id, { key, digest });
  }
  return entries;
}

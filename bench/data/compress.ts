/** gzip of a layer by us and by pigz: as much as compresses, and as much as does not. */
import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DiffID } from '../../src/base/digest.ts';
import { createCompressor } from '../../src/layer/compress.ts';
import type { Layer } from '../../src/layer/layer.ts';
import { note, timed, type Results } from './measure.ts';
import type { Workplace } from './workplace.ts';

const MIB = 1 << 20;
const CHUNKS = 512;
/** pigz' own default, and what we do unless we are told otherwise. */
const LEVELS = [6, 7];
const WORKERS = [1, 2, 8];

export async function measureCompress(place: Workplace): Promise<Results> {
  const results: Results = new Map();
  const path = join(place.directory, 'text');
  makeText(path);
  const { size } = statSync(path);
  const layer = { path, size, diffID: `sha256:${'0'.repeat(64)}` as DiffID } as Layer;
  const out = join(place.directory, 'out.gz');
  for (let round = 0; round < place.rounds; round += 1) {
    const theirs = await timed(['sh', '-c', `pigz -6 -c ${path} > ${out}.pigz`]);
    note(results, `pigz -6: ${percent(statSync(`${out}.pigz`).size, size)}`, theirs);
    for (const level of LEVELS) {
      const { compress } = await createCompressor('gzip', level);
      const digests = new Set<string>();
      for (const threads of WORKERS) {
        const fd = openSync(out, 'w+');
        ftruncateSync(fd);
        const started = performance.now();
        const made = await compress(layer, fd, { signal: new AbortController().signal, threads });
        const ms = performance.now() - started;
        closeSync(fd);
        digests.add(made.digest);
        note(results, `level ${level}, ${threads} workers: ${percent(made.size, size)}`, { ms, peakMiB: 0 });
      }
      if (digests.size !== 1) throw new Error(`level ${level} gives ${digests.size} results`);
    }
  }
  return results;
}

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(2)} %`;

/** The symbols and code of a program, shifted so that no two blocks are the same, and one block in 16 of random bytes. */
function makeText(path: string): void {
  const words = readFileSync(process.execPath).subarray(0, 32 * MIB);
  const chunk = Buffer.alloc(MIB);
  const fd = openSync(path, 'w');
  for (let written = 0, at = 0; written < CHUNKS; written += 1) {
    at = (at + 7919) % (words.byteLength - MIB);
    if (written % 16 === 15) randomFillSync(chunk);
    else words.copy(chunk, 0, at, at + MIB);
    writeSync(fd, chunk);
  }
  closeSync(fd);
}

/**
 * Journals: which records a stage of a Dockerfile has had, so that a step can be compared with what it was before.
 *
 * One file per Dockerfile and stage, the newest record first; one more per name of a Dockerfile, whatever directory it
 * lies in, for checkouts that lie elsewhere each time. Written once per build by temp + rename: of two builds that end
 * together one may lose its lines, which costs an explanation and nothing else.
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type CacheKey } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import { isJsonObject } from '../../base/json.ts';

const MAX_LINES = 200;

/** One record of a step. */
export interface JournalLine {
  readonly key: CacheKey;
  readonly step: number;
  readonly text: string;
}

/** Which Dockerfile: where it lies, and what it is called. */
export interface Project {
  readonly place: string;
  readonly name: string;
}

export interface Journals {
  /** Newest first; those of this very Dockerfile before those of others with its name. */
  lines(project: Project, stage: string): readonly JournalLine[];
  /** Where there are too many, what was used last stays: a build that is cached each time writes no line anew. */
  add(project: Project, stage: string, lines: readonly JournalLine[], lastUsed: LastUsed): void;
}

/** undefined: there is no such record any more. */
export type LastUsed = (key: CacheKey) => number | undefined;

export function openJournals(root: string, host: Host): Journals {
  const placesOf = ({ place, name }: Project, stage: string): readonly string[] =>
    [`${place}\0${stage}`, `\0${name}\0${stage}`].map((identity) =>
      join(root, `${hexOf(digestOf(identity)).slice(0, 32)}.json`),
    );
  return {
    lines: (project, stage) => unique(placesOf(project, stage).flatMap(readLines)),
    add(project, stage, lines, lastUsed) {
      for (const path of placesOf(project, stage)) {
        const all = unique([...lines, ...readLines(path)]);
        const kept = all.length <= MAX_LINES ? all : usedLast(all, lastUsed);
        writeFileAtomic(host, path, JSON.stringify(kept));
      }
    },
  };
}

/** In the order that they have. */
function usedLast(lines: readonly JournalLine[], lastUsed: LastUsed): readonly JournalLine[] {
  const dated = lines.map((line, index) => ({ line, index, used: lastUsed(line.key) ?? 0 }));
  return dated
    .sort((a, b) => b.used - a.used || a.index - b.index)
    .slice(0, MAX_LINES)
    .sort((a, b) => a.index - b.index)
    .map(({ line }) => line);
}

function unique(lines: readonly JournalLine[]): readonly JournalLine[] {
  const seen = new Set<string>();
  return lines.filter(({ key }) => !seen.has(key) && seen.add(key));
}

function readLines(path: string): readonly JournalLine[] {
  const value = readJsonIfExists(path);
  return Array.isArray(value) ? value.flatMap(parseLine) : [];
}

function parseLine(value: unknown): readonly JournalLine[] {
  if (!isJsonObject(value)) return [];
  const { key, step, text } = value;
  if (typeof key !== 'string' || !isDigest(key) || typeof step !== 'number' || typeof text !== 'string')
    return [];
  return [{ key: key as CacheKey, step, text }];
}

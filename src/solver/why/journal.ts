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
  add(project: Project, stage: string, lines: readonly JournalLine[]): void;
}

export function openJournals(root: string, host: Host): Journals {
  const placesOf = ({ place, name }: Project, stage: string): readonly string[] =>
    [`${place}\0${stage}`, `\0${name}\0${stage}`].map((identity) =>
      join(root, `${hexOf(digestOf(identity)).slice(0, 32)}.json`),
    );
  return {
    lines: (project, stage) => unique(placesOf(project, stage).flatMap(readLines)),
    add(project, stage, lines) {
      for (const path of placesOf(project, stage)) {
        const kept = unique([...lines, ...readLines(path)]).slice(0, MAX_LINES);
        writeFileAtomic(host, path, JSON.stringify(kept));
      }
    },
  };
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

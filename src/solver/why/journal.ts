/**
 * Journals: which records a stage of a Dockerfile has had, so that a step can be compared with what it was before.
 *
 * One file per Dockerfile and stage, the newest record first; one more per name of a Dockerfile, whatever directory it
 * lies in, for checkouts that lie elsewhere each time. Nearly all are called Dockerfile: a line of that file has the
 * steps of its stage with it, which tell another checkout of a project from another project. Written once per build by
 * temp + rename: of two builds that end together one may lose its lines, which costs an explanation and nothing else.
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type CacheKey } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import { isJsonObject } from '../../base/json.ts';

const MAX_LINES = 200;
/** Steps that a line remembers of its stage. */
const MAX_STEPS = 64;

/** One record of a step. */
export interface JournalLine {
  readonly key: CacheKey;
  readonly step: number;
  readonly text: string;
  /** What was built then, `os/architecture`; absent: it is not known. */
  readonly platform?: string;
  /** Of a Dockerfile that may lie elsewhere, which one: a short digest of its place. */
  readonly place?: string;
}

/** Which Dockerfile: where it lies, and what it is called. */
export interface Project {
  readonly place: string;
  readonly name: string;
  /** What is built of it, `os/architecture`. */
  readonly platform?: string;
}

export interface Journals {
  /** Of this very Dockerfile, newest first. */
  lines(project: Project, stage: string): readonly JournalLine[];
  /** Of Dockerfiles elsewhere with its name, of which the stage has half of its steps, or more, as `texts` has them. */
  linesElsewhere(project: Project, stage: string, texts: ReadonlySet<string>): readonly JournalLine[];
  /**
   * `texts`: all steps of the stage. Where there are too many lines, what was used last stays: a build that is cached each
   * time writes no line anew.
   */
  add(
    project: Project,
    stage: string,
    lines: readonly JournalLine[],
    texts: ReadonlySet<string>,
    lastUsed: LastUsed,
  ): void;
}

/** As it is kept. */
interface KeptLine extends JournalLine {
  /** Short digests of the texts of all steps of its stage then. */
  readonly steps?: readonly string[];
}

/** undefined: there is no such record any more. */
export type LastUsed = (key: CacheKey) => number | undefined;

export function openJournals(root: string, host: Host): Journals {
  const pathOf = (identity: string): string => join(root, `${hexOf(digestOf(identity)).slice(0, 32)}.json`);
  const ownPath = ({ place }: Project, stage: string): string => pathOf(`${place}\0${stage}`);
  const sharedPath = ({ name }: Project, stage: string): string => pathOf(`\0${name}\0${stage}`);

  function addTo(path: string, lines: readonly KeptLine[], lastUsed: LastUsed): void {
    const all = unique([...lines, ...readLines(path)]);
    const kept = all.length <= MAX_LINES ? all : usedLast(all, lastUsed);
    writeFileAtomic(host, path, JSON.stringify(kept));
  }

  return {
    lines: (project, stage) => unique(readLines(ownPath(project, stage))),
    linesElsewhere(project, stage, texts) {
      const steps = stepsOf(texts);
      return unique(readLines(sharedPath(project, stage))).filter((line) => isKin(line, steps));
    },
    add(project, stage, lines, texts, lastUsed) {
      const { platform } = project;
      const own = lines.map((line) => (platform === undefined ? line : { ...line, platform }));
      addTo(ownPath(project, stage), own, lastUsed);
      const steps = stepsOf(texts);
      addTo(
        sharedPath(project, stage),
        own.map((line) => ({ ...line, steps, place: shortDigest(project.place) })),
        lastUsed,
      );
    },
  };
}

function stepsOf(texts: ReadonlySet<string>): readonly string[] {
  return [...texts].slice(0, MAX_STEPS).map(shortDigest);
}

function shortDigest(text: string): string {
  return hexOf(digestOf(text)).slice(0, 8);
}

function isKin({ steps = [] }: KeptLine, now: readonly string[]): boolean {
  const common = now.filter((step) => steps.includes(step));
  return common.length > 0 && common.length * 2 >= Math.max(now.length, steps.length);
}

/** In the order that they have. */
function usedLast(lines: readonly KeptLine[], lastUsed: LastUsed): readonly KeptLine[] {
  const dated = lines.map((line, index) => ({ line, index, used: lastUsed(line.key) ?? 0 }));
  return dated
    .sort((a, b) => b.used - a.used || a.index - b.index)
    .slice(0, MAX_LINES)
    .sort((a, b) => a.index - b.index)
    .map(({ line }) => line);
}

function unique(lines: readonly KeptLine[]): readonly KeptLine[] {
  const seen = new Set<string>();
  return lines.filter(({ key }) => !seen.has(key) && seen.add(key));
}

function readLines(path: string): readonly KeptLine[] {
  const value = readJsonIfExists(path);
  return Array.isArray(value) ? value.flatMap(parseLine) : [];
}

function parseLine(value: unknown): readonly KeptLine[] {
  if (!isJsonObject(value)) return [];
  const { key, step, text, platform, steps, place } = value;
  if (typeof key !== 'string' || !isDigest(key) || typeof step !== 'number' || typeof text !== 'string')
    return [];
  const known: readonly unknown[] = Array.isArray(steps) ? steps : [];
  return [
    {
      key: key as CacheKey,
      step,
      text,
      ...(typeof platform === 'string' ? { platform } : {}),
      ...(typeof place === 'string' ? { place } : {}),
      ...(known.length === 0 ? {} : { steps: known.filter((each) => typeof each === 'string') }),
    },
  ];
}

/**
 * Explains why steps of one build are executed: each against the record of the nearest earlier execution of the same
 * step, the one with the fewest differences among those that are most like it.
 *
 * Loaded when the first step of a build is executed, or by `tsbuild why`; a build of which everything is cached needs
 * none of it.
 */
import { join } from 'node:path';
import type { CacheKey, Digest } from '../../base/digest.ts';
import type { Host } from '../../base/host.ts';
import type { Vertex } from '../../graph/graph.ts';
import type { Cause } from '../../progress/cause.ts';
import type { CacheMap, StepRecord } from '../handler.ts';
import type { RecordStore } from '../records.ts';
import { identityOf } from '../result.ts';
import { compareExecutions } from './compare.ts';
import { openDocuments, shortened, type Documents } from './documents.ts';
import type { Execution } from './execution.ts';
import { openJournals, type JournalLine, type Project } from './journal.ts';
import { candidatesFor } from './nearest.ts';
import { originOf, type StepOrigin } from './origin.ts';

export interface ExplainerOptions {
  readonly host: Host;
  readonly records: RecordStore;
  /** undefined: what is built is no Dockerfile, and there is nothing to compare with. */
  readonly project: Project | undefined;
  /** Executions elsewhere, to compare with as well. From outside: nothing but their form was checked. */
  readonly earlier?: readonly StepRecord[] | undefined;
  /** All of this build. */
  readonly vertices: readonly Vertex[];
}

/** Why a step is executed, and what it was compared with. */
export interface Explanation {
  readonly causes: readonly Cause[];
  readonly nearest?: StepRecord;
}

export interface Explainer {
  /** `key` has no record that could be used. */
  explain(vertex: Vertex, key: CacheKey, description: CacheMap): Explanation;
  /** What was made of an explanation, for those of the steps that mount what this one makes. */
  amend(vertex: Vertex, causes: readonly Cause[]): void;
  /** The execution that a step is compared with first, where what it takes cannot be looked into yet. */
  likeliest(vertex: Vertex): StepRecord | undefined;
  /** Keeps what a record with this description refers to; when a step is executed, before `complete`. */
  keep(description: CacheMap): void;
  /** The record as it is to be kept. */
  complete(record: StepRecord, vertex: Vertex, description: CacheMap, causes: readonly Cause[]): StepRecord;
  /** Writes the journals; once, at the end of a build. */
  save(): void;
}

export function createExplainer(options: ExplainerOptions): Explainer {
  const { host, records, project, vertices, earlier = [] } = options;
  const documents = openDocuments(join(records.directory, 'texts'), host);
  const journals = openJournals(join(records.directory, 'journals'), host);
  const known = new Map<string, readonly JournalLine[]>();
  const elsewhere = new Map<string, readonly JournalLine[]>();
  const executed = new Map<string, JournalLine[]>();
  const explanations = new Map<Digest, Explanation>();
  /** Steps of this build that made something else than before. */
  const becameOther = new Set<Digest>();
  const texts = textsByStage(vertices);
  /** why: a look at the disk for each line of the journal and each step would be the square of their number. */
  const lastUsed = new Map<CacheKey, number | undefined>();
  const others = new Map<Digest, StepRecord>(earlier.map((record) => [record.key, record]));

  const textsOf = (stage: string): ReadonlySet<string> => texts.get(stage) ?? new Set();

  function linesOf(stage: string): readonly JournalLine[] {
    const lines = known.get(stage) ?? [
      ...(project === undefined ? [] : journals.lines(project, stage)),
      ...linesOfOthers(earlier, stage),
    ];
    known.set(stage, lines);
    return lines;
  }

  function linesElsewhere(stage: string): readonly JournalLine[] {
    const lines =
      elsewhere.get(stage) ??
      (project === undefined ? [] : journals.linesElsewhere(project, stage, textsOf(stage)));
    elsewhere.set(stage, lines);
    return lines;
  }

  const isOfPlatform = ({ platform }: JournalLine): boolean =>
    platform === undefined || platform === project?.platform;

  /** why not all together: of two checkouts, or platforms, that are both worked on, what the other did last is no cause. */
  function candidatesOf(origin: StepOrigin): readonly JournalLine[] {
    const { stage } = origin;
    const choose = (lines: readonly JournalLine[]): readonly JournalLine[] =>
      candidatesFor(origin, lines, textsOf(stage), usedLast);
    const own = linesOf(stage);
    const ofPlatform = choose(own.filter(isOfPlatform));
    if (ofPlatform.length > 0) return ofPlatform;
    const ofOthers = choose(own);
    return ofOthers.length > 0 ? ofOthers : choose(linesElsewhere(stage));
  }

  function usedLast(key: CacheKey): number | undefined {
    if (!lastUsed.has(key)) lastUsed.set(key, records.lastUsed(key) ?? others.get(key)?.finished);
    return lastUsed.get(key);
  }

  function compareWithNearest(vertex: Vertex, origin: StepOrigin, description: CacheMap): Explanation {
    const after = executionNow(documents, origin, description);
    const around = {
      causesOfInput: (index: number) =>
        explanations.get(vertex.inputs[index]?.id ?? ('' as Digest))?.causes ?? [],
      linkedOnto: (index: number) =>
        mergedInto(vertex.inputs[index]).flatMap(({ id, name }) => (becameOther.has(id) ? [name] : [])),
      changedSteps: (index: number) =>
        mergedInto(vertex.inputs[index]).flatMap(({ id, name }) =>
          becameOther.has(id) && explanations.get(id)?.nearest !== undefined ? [name] : [],
        ),
    };
    let best: Explanation | undefined;
    for (const { key } of candidatesOf(origin)) {
      const record = records.get(key) ?? others.get(key);
      if (record?.origin === undefined) continue;
      const before = executionThen(documents, record, record.origin);
      const limit = best === undefined ? {} : { giveUpAt: changesOf(weightOf(best.causes)) };
      const causes = compare({ ...before, ...limit }, after, around);
      if (causes === undefined) continue;
      if (best === undefined || weightOf(causes) < weightOf(best.causes)) best = { causes, nearest: record };
      // Hardly another one says it with less, and reading it takes its time.
      if (weightOf(causes) <= ONE_CHANGE) break;
    }
    return best ?? { causes: [{ kind: 'new' }] };
  }

  return {
    explain(vertex, key, description) {
      const explanation = explainNow(vertex, key, description);
      explanations.set(vertex.id, explanation);
      return explanation;
    },

    amend(vertex, causes) {
      explanations.set(vertex.id, { ...explanations.get(vertex.id), causes });
    },

    likeliest(vertex) {
      const origin = originOf(vertex);
      const [line] = origin === undefined ? [] : candidatesOf(origin);
      return line === undefined ? undefined : (records.get(line.key) ?? others.get(line.key));
    },

    keep({ listings = [] }) {
      for (const listing of listings) documents.putListing(listing);
    },

    complete(record, vertex, { ignoreFile }, causes) {
      const nearest = explanations.get(vertex.id)?.nearest;
      if (nearest === undefined || identityOf(nearest.result) !== identityOf(record.result))
        becameOther.add(vertex.id);
      const ignore =
        ignoreFile === undefined || ignoreFile.text === ''
          ? undefined
          : { file: ignoreFile.file, text: documents.putText(ignoreFile.text) };
      const origin = originOf(vertex, ignore);
      if (origin === undefined) return { ...record, causes };
      const { stage, step, text } = origin;
      executed.set(stage, [{ key: record.key as CacheKey, step, text }, ...(executed.get(stage) ?? [])]);
      return { ...record, origin, causes };
    },

    save() {
      if (project !== undefined)
        for (const [stage, lines] of executed)
          journals.add(project, stage, lines, textsOf(stage), (key) => records.lastUsed(key));
      executed.clear();
    },
  };

  function explainNow(vertex: Vertex, key: CacheKey, description: CacheMap): Explanation {
    const same = records.get(key);
    if (vertex.noCache === true)
      return { causes: [{ kind: 'no-cache' }], ...(same === undefined ? {} : { nearest: same }) };
    if (same !== undefined) return { causes: [{ kind: 'lost' }], nearest: same };
    const origin = originOf(vertex);
    if (origin !== undefined) return compareWithNearest(vertex, origin, description);
    if (vertex.op.kind !== 'git') return { causes: [{ kind: 'new' }] };
    const { commit } = description.named;
    return {
      causes: [
        { kind: 'source', source: vertex.name, ...(typeof commit === 'string' ? { after: commit } : {}) },
      ],
    };
  }
}

/** What was merged into it, from below; it alone where it is no merge. */
function mergedInto(vertex: Vertex | undefined): readonly Vertex[] {
  const layers: Vertex[] = [];
  let at = vertex;
  for (; at?.op.kind === 'merge'; at = at.inputs[0]) layers.unshift(...at.inputs.slice(1));
  return at === undefined ? layers : [at, ...layers];
}

function linesOfOthers(earlier: readonly StepRecord[], stage: string): readonly JournalLine[] {
  return earlier.flatMap(({ key, origin }) =>
    origin?.stage === stage ? [{ key: key as CacheKey, step: origin.step, text: origin.text }] : [],
  );
}

/** undefined where an execution makes no sense: it came from outside, and no build fails by what is said of it. */
function compare(...args: Parameters<typeof compareExecutions>): readonly Cause[] | undefined {
  try {
    return compareExecutions(...args);
  } catch {
    return undefined;
  }
}

function textsByStage(vertices: readonly Vertex[]): ReadonlyMap<string, ReadonlySet<string>> {
  const texts = new Map<string, Set<string>>();
  for (const { place } of vertices) {
    if (place === undefined) continue;
    const known = texts.get(place.stage) ?? new Set();
    texts.set(place.stage, known.add(place.text));
  }
  return texts;
}

function executionNow(
  documents: Documents,
  origin: StepOrigin,
  { named, listings = [], ignoreFile }: CacheMap,
): Execution {
  return {
    named,
    origin:
      ignoreFile === undefined
        ? origin
        : { ...origin, ignore: { file: ignoreFile.file, text: '' as Digest } },
    listing(digest) {
      const listing = listings.find((each) => each.digest === digest);
      return listing === undefined ? documents.listing(digest as Digest) : shortened(listing);
    },
    ignoreText: () => ignoreFile?.text,
  };
}

function executionThen(documents: Documents, { named }: StepRecord, origin: StepOrigin): Execution {
  return {
    named,
    origin,
    listing: (digest) => documents.listing(digest as Digest),
    ignoreText: () => (origin.ignore === undefined ? undefined : documents.text(origin.ignore.text)),
  };
}

/** With so many changed files, one cause has this weight or more. */
function changesOf(weight: number): number {
  return 10 ** Math.ceil(10 * (weight - 1) - ROUNDING);
}

const ROUNDING = 1e-6;

/** One cause, and of files a few. */
const ONE_CHANGE = 1;

/**
 * Many changed files weigh as one cause and a little, ten times as many a little more. why so coarse: of about equals, what
 * was used last is what people compare with.
 */
function weightOf(causes: readonly Cause[]): number {
  return causes.reduce(
    (sum, cause) =>
      sum + 1 + (cause.kind === 'files' ? Math.floor(Math.log10(Math.max(1, cause.changed))) / 10 : 0),
    0,
  );
}

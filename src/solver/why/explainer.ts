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
import { haveFilesInCommon } from './kinship.ts';
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

interface Earlier {
  readonly record: StepRecord;
  readonly execution: Execution;
}

/** So often other Dockerfiles are looked for where those that were found are of other projects. */
const ROUNDS = 3;

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
  /** Places of Dockerfiles, as journals have them, that were found to be of other projects. */
  const strangers = new Set<string | undefined>();
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
  function candidatesHere(origin: StepOrigin): readonly JournalLine[] {
    const own = linesOf(origin.stage);
    const ofPlatform = choose(origin, own.filter(isOfPlatform));
    return ofPlatform.length > 0 ? ofPlatform : choose(origin, own);
  }

  function candidatesElsewhere(origin: StepOrigin): readonly JournalLine[] {
    return choose(
      origin,
      linesElsewhere(origin.stage).filter(({ place }) => !strangers.has(place)),
    );
  }

  function choose(origin: StepOrigin, lines: readonly JournalLine[]): readonly JournalLine[] {
    return candidatesFor(origin, lines, textsOf(origin.stage), usedLast);
  }

  /** What was executed before, and how it was. */
  function earlierOf({ key }: JournalLine): Earlier | undefined {
    const record = records.get(key) ?? others.get(key);
    return record?.origin === undefined
      ? undefined
      : { record, execution: executionThen(documents, record, record.origin) };
  }

  /** Of other checkouts of this project. */
  function earlierElsewhere(origin: StepOrigin, after: Execution): readonly Earlier[] {
    for (let round = 0; round < ROUNDS; round += 1) {
      const found = candidatesElsewhere(origin).flatMap((line) => {
        const earlier = earlierOf(line);
        if (earlier === undefined) return [];
        const isKin = haveFilesInCommon(earlier.execution, after);
        return [{ ...earlier, place: line.place, isKin }];
      });
      const kin = new Set(found.flatMap(({ place, isKin }) => (isKin === true ? [place] : [])));
      // Others may be behind those that turn out to be strangers.
      const before = strangers.size;
      for (const { place, isKin } of found) if (isKin === false && !kin.has(place)) strangers.add(place);
      const isOneStep = textsOf(origin.stage).size <= 1;
      const known = found.filter(({ isKin = !isOneStep }) => isKin);
      if (known.length > 0 || strangers.size === before) return known;
    }
    return [];
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
    const here = candidatesHere(origin);
    const candidates =
      here.length > 0 ? here.flatMap((line) => earlierOf(line) ?? []) : earlierElsewhere(origin, after);
    for (const { record, execution } of candidates) {
      const limit = best === undefined ? {} : { giveUpAt: changesOf(weightOf(best.causes)) };
      const causes = compare({ ...execution, ...limit }, after, around);
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
      if (origin === undefined) return undefined;
      const here = candidatesHere(origin);
      const [line] = here.length > 0 ? here : candidatesElsewhere(origin);
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

/**
 * `npm run fuzz:frontend -- SECONDS [SEED]`: Dockerfiles mutated at random, until the time is over.
 *
 * Fails on whatever is no TsbuildError, on an error or a warning that points outside the text, and on an input that
 * takes more than a second. A worker does the work, the main thread watches: an endless loop is found too. Every
 * input follows from the seed and its number alone, so a failure can be had again.
 */
import { setImmediate } from 'node:timers/promises';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { digestOf } from '../src/base/digest.ts';
import { isTsbuildError, type SourceRef } from '../src/base/errors.ts';
import { checkDockerfile, createBuildGraph, listStages, outlineDockerfile } from '../frontend/frontend.ts';
import type { FrontendRequest } from '../frontend/request.ts';
import { NAMES, SEEDS, WORDS } from './fuzz-seeds.ts';

const LIMIT_MS = 1000;
/** Longer than any Dockerfile that people write; what takes long takes long before that. */
const MAX_TEXT = 100_000;

interface Random {
  /** From 0 to `below` - 1. */
  below(limit: number): number;
  pick<T>(items: readonly T[]): T;
}

/** Mulberry32: small, and the same everywhere. */
function createRandom(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new RangeError('nothing to pick from');
      return item;
    },
  };
}

type Mutation = (text: string, random: Random) => string;

function splice(text: string, at: number, removed: number, inserted: string): string {
  return text.slice(0, at) + inserted + text.slice(at + removed);
}

const MUTATIONS: readonly Mutation[] = [
  (text, random) => splice(text, random.below(text.length + 1), 0, random.pick(WORDS)),
  (text, random) => splice(text, random.below(text.length + 1), 1 + random.below(4), random.pick(WORDS)),
  (text, random) => splice(text, random.below(text.length + 1), 1 + random.below(20), ''),
  (text, random) =>
    splice(
      text,
      random.below(text.length + 1),
      1,
      String.fromCharCode(random.below(random.below(4) === 0 ? 65536 : 128)),
    ),
  (text, random) => {
    const other = random.pick(SEEDS);
    const from = random.below(other.length);
    return splice(text, random.below(text.length + 1), 0, other.slice(from, from + random.below(120)));
  },
  (text, random) => {
    const from = random.below(text.length + 1);
    return splice(text, random.below(text.length + 1), 0, text.slice(from, from + random.below(60)));
  },
  (text, random) => {
    const lines = text.split('\n');
    lines.splice(
      random.below(lines.length + 1),
      random.below(2),
      random.pick(random.pick(SEEDS).split('\n')),
    );
    return lines.join('\n');
  },
  // A word where a name or a value is looked for.
  (text, random) => {
    const places = [...text.matchAll(/--|=|,|\$\{?|^(?=.)/gm)].map(
      ({ index, 0: found }) => index + found.length,
    );
    const word = random.pick(random.below(3) === 0 ? NAMES : WORDS);
    return splice(text, places.length === 0 ? 0 : random.pick(places), 0, word);
  },
  (text, random) => {
    const words = [...text.matchAll(/[A-Za-z_]\w*/g)];
    if (words.length === 0) return text;
    const { index, 0: word } = random.pick(words);
    return splice(text, index, word.length, random.pick(random.below(3) === 0 ? NAMES : WORDS));
  },
  // Long runs find what is quadratic.
  (text, random) => {
    if (random.below(48) !== 0) return text;
    const from = random.below(text.length + 1);
    const piece = random.below(2) === 0 ? random.pick(WORDS) : text.slice(from, from + 1 + random.below(40));
    const times = 2 ** random.below(18);
    return splice(
      text,
      from,
      0,
      piece.repeat(Math.min(times, Math.ceil(MAX_TEXT / Math.max(1, piece.length)))),
    );
  },
];

function mutated(random: Random): string {
  let text = random.pick(SEEDS);
  for (let count = 1 + random.below(12); count > 0; count -= 1) text = random.pick(MUTATIONS)(text, random);
  return text.slice(0, MAX_TEXT);
}

const platform = { os: 'linux', architecture: 'amd64' };

/** Input `number` of a run. */
function inputOf(seed: number, number: number): FrontendRequest {
  const random = createRandom(Math.imul(seed, 0x9e3779b1) ^ number);
  const text = mutated(random);
  const triggers = random.below(4) === 0 ? text.split('\n').filter(() => random.below(5) === 0) : [];
  return {
    file: 'Dockerfile',
    text,
    platform,
    buildPlatform: random.pick([platform, { os: 'linux', architecture: 'arm', variant: 'v7' }]),
    buildArgs: {
      ...(random.below(3) === 0 ? { VERSION: random.pick(WORDS), HTTP_PROXY: 'p' } : {}),
      ...(random.below(8) === 0 ? { BUILDKIT_DOCKERFILE_CHECK: random.pick(WORDS) } : {}),
    },
    labels: random.below(8) === 0 ? { [random.pick(WORDS)]: 'x' } : {},
    noCache: random.below(8) === 0 ? ['build'] : false,
    network: 'default',
    allow: random.below(2) === 0 ? ['security.insecure', 'network.host'] : [],
    namedContexts:
      random.below(6) === 0 ? { alpine: { kind: 'stage', name: 'build' }, base: { kind: 'directory' } } : {},
    ...(random.below(6) === 0 ? { isIgnored: (path: string) => path.startsWith('b') } : {}),
    resolveImage: (reference) =>
      Promise.resolve({
        reference,
        manifest: digestOf(reference),
        config: {
          ...platform,
          config: { Env: ['PATH=/bin', 'A=a'], ...(triggers.length === 0 ? {} : { OnBuild: triggers }) },
          rootfs: { type: 'layers', diff_ids: [] },
          history: [],
        },
      }),
  };
}

function misplaced({ text, range }: SourceRef, lines: number): string | undefined {
  const { startLine, endLine, startColumn, endColumn } = range;
  const isInside = startLine >= 1 && endLine >= startLine && endLine <= lines && startColumn >= 1;
  const isForward = endLine > startLine || endColumn > startColumn;
  return isInside && isForward
    ? undefined
    : `${JSON.stringify(range)} in a text of ${lines} lines (${text.length})`;
}

/** What is wrong with how an input was answered; undefined: nothing. */
async function judge(request: FrontendRequest): Promise<string | undefined> {
  const lines = request.text.split('\n').length;
  const places: SourceRef[] = [];
  const onWarning: FrontendRequest['onWarning'] = ({ source }) => places.push(source);
  const work = [
    () => createBuildGraph({ ...request, onWarning }),
    () => checkDockerfile({ ...request, onWarning }),
    () => outlineDockerfile(request),
    () => Promise.resolve(listStages(request)),
  ];
  for (const [index, step] of work.entries()) {
    let took = Infinity;
    // A machine that is busy with something else is asked again.
    for (let attempt = 0; attempt < 3 && took > LIMIT_MS; attempt += 1) {
      const started = performance.now();
      try {
        await step();
      } catch (error) {
        if (!isTsbuildError(error))
          return error instanceof Error ? (error.stack ?? error.message) : String(error);
        if (error.source !== undefined && error.source.file === 'Dockerfile') places.push(error.source);
      }
      took = Math.min(took, performance.now() - started);
    }
    if (took > LIMIT_MS) return `step ${index} took ${Math.round(took)} ms`;
  }
  for (const place of places) {
    const wrong = misplaced(place, lines);
    if (wrong !== undefined) return `a place that is none: ${wrong}`;
  }
  return undefined;
}

interface Task {
  readonly seconds: number;
  readonly seed: number;
  /** The number of the input at work, then how many were answered by an error. */
  readonly shared: SharedArrayBuffer;
}

function show(seed: number, number: number, reason: string): void {
  const { text, buildArgs, namedContexts } = inputOf(seed, number);
  console.error(`seed ${seed}, input ${number}: ${reason}`);
  console.error(JSON.stringify({ text: text.slice(0, 4000), length: text.length, buildArgs, namedContexts }));
}

async function runWorker({ seconds, seed, shared }: Task): Promise<void> {
  const counters = new Int32Array(shared);
  const until = performance.now() + seconds * 1000;
  for (let number = 0; performance.now() < until; number += 1) {
    Atomics.store(counters, 0, number);
    const wrong = await judge(inputOf(seed, number));
    if (wrong === undefined) continue;
    show(seed, number, wrong);
    // What was written leaves the worker when its loop turns.
    await setImmediate();
    if (Atomics.add(counters, 1, 1) >= 20) break;
  }
}

function watch(seconds: number, seed: number): void {
  const shared = new SharedArrayBuffer(8);
  const counters = new Int32Array(shared);
  const task: Task = { seconds, seed, shared };
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  let before = -1;
  const timer = setInterval(() => {
    const number = Atomics.load(counters, 0);
    if (number === before) {
      show(seed, number, 'no end is in sight');
      process.exit(1);
    }
    before = number;
  }, 20 * LIMIT_MS);
  worker.once('error', (error) => {
    clearInterval(timer);
    show(seed, Atomics.load(counters, 0), error.stack ?? error.message);
    process.exitCode = 1;
  });
  worker.once('exit', () => {
    clearInterval(timer);
    const [inputs = 0, failures = 0] = counters;
    console.log(JSON.stringify({ seed, seconds, inputs: inputs + 1, failures }));
    if (failures > 0) process.exitCode = 1;
  });
}

if (isMainThread) {
  const [seconds, seed] = process.argv.slice(2).map(Number);
  if (seconds === undefined || !(seconds > 0)) {
    console.error('usage: npm run fuzz:frontend -- SECONDS [SEED]');
    process.exitCode = 2;
  } else watch(seconds, seed ?? Math.floor(Math.random() * 2 ** 31));
} else await runWorker(workerData as Task);

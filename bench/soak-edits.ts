/**
 * `npm run soak:edits -- [COUNT [SEED]]` (5000, by the clock): random edits of a small project. After each it is built with the
 * cache, in a state root with a limit that keeps garbage collection busy, and without any cache in another root; both
 * must come out the same. Ends with 1, the seed and the edits at the first that does not.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeBusyboxTar } from './busybox.ts';
import { startTimeOf } from '../src/base/owner.ts';
import type { BuildRequest } from '../src/engine/build-request.ts';
import { readContextIgnore } from '../src/engine/dockerfile-source.ts';
import { openEngine, type Engine } from '../src/engine/engine.ts';
import { pruneCache, pruneImages } from '../src/engine/gc/prune.ts';
import { importImage } from '../src/engine/import.ts';
import { silentSink } from '../src/progress/progress.ts';
import { outcomeOf } from './edits/outcome.ts';
import {
  dockerfileOf,
  editFiles,
  editRecipe,
  firstRecipe,
  makeFiles,
  readFiles,
  restoreFiles,
  type Files,
  type Recipe,
} from './edits/project.ts';
import { randomFrom } from './edits/random.ts';

const [count = '5000', seed = String(Date.now() % 1_000_000)] = process.argv.slice(2);
const random = randomFrom(Number(seed));
// A memory file system: what is tested is which step is executed, and disks are slow.
const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tsbuild-edits-'));
const context = join(directory, 'context');
/** Small enough that some of what earlier states left has to go. */
const LIMIT = 64 << 20;
/** As often the oracle's root is emptied. */
const EMPTIED_AFTER = 50;
/** So many states can be gone back to. */
const REMEMBERED = 40;

let unique = 0;
const owner = `${process.pid}.${startTimeOf(process.pid) ?? '0'}`;

function engineAt(name: string, storageMax?: number): Engine {
  return openEngine({
    root: join(directory, name),
    host: { now: () => Date.now(), unique: () => `${owner}.${((unique += 1)).toString(36)}` },
    platform: { os: 'linux', architecture: 'amd64' },
    parallelism: 4,
    hostname: 'soak',
    random: randomBytes,
    cleanupCommand: [],
    resolvConf: () => '',
    openRegistry: () => Promise.reject(new Error('no registry here')),
    ...(storageMax === undefined ? {} : { storageMax }),
  });
}

async function importBase(engine: Engine, tar: string): Promise<void> {
  await importImage(
    engine,
    {
      source: createReadStream(tar),
      ...{ from: 'busybox', name: 'bb:1', platform: { os: 'linux', architecture: 'amd64' }, created: 0 },
    },
    { sink: silentSink, signal: new AbortController().signal },
  );
}

function requestOf(recipe: Recipe, noCache: boolean): BuildRequest {
  const ignoreText = readContextIgnore(context);
  return {
    dockerfile: { file: 'Dockerfile', text: dockerfileOf(recipe) },
    contexts: new Map([
      [
        'context',
        {
          kind: 'directory',
          directory: context,
          where: context,
          ...(ignoreText === undefined ? {} : { ignoreText }),
        },
      ],
    ]),
    platforms: [],
    buildArgs: {
      ...(recipe.argument === '' ? {} : { EXTRA: recipe.argument, VERSION: recipe.argument }),
      ...(recipe.epoch === '' ? {} : { SOURCE_DATE_EPOCH: recipe.epoch }),
    },
    labels: {},
    tags: noCache ? [] : ['soak:1'],
    noCache,
    pull: false,
    push: false,
    network: 'none',
    allow: [],
    extraHosts: [],
    resources: { rlimits: [] },
    outputs: [],
    secret: () => Promise.resolve(undefined),
    sshSocket: () => undefined,
    gitEnvironment: {},
  };
}

interface State {
  readonly files: Files;
  readonly recipe: Recipe;
}

/** What builds without cache made of states, in their own root. */
interface Oracle {
  readonly engine: Engine;
  readonly texts: Map<string, string>;
}

async function buildWithoutCache(engine: Engine, recipe: Recipe): Promise<string> {
  // What is remembered of files must not mislead both.
  for (const name of ['stat-cache', 'copies'])
    rmSync(join(engine.options.root, name), { recursive: true, force: true });
  return (await outcomeOf(engine, requestOf(recipe, true), recipe.epoch !== '')).text;
}

async function soak(cached: Engine, oracle: Oracle): Promise<boolean> {
  const started = Date.now();
  const log: string[] = [];
  const totals = { executed: 0, cached: 0, failed: 0, again: 0 };
  const states: State[] = [];
  let recipe = firstRecipe();
  let hasFailed = false;
  for (let round = 1; round <= Number(count); round += 1) {
    // A state that cannot be built says little: most of them are left again.
    const back =
      states.length > 0 && random.next() < (hasFailed ? 0.7 : 0.2) ? random.pick(states) : undefined;
    let what: string;
    if (back !== undefined) {
      restoreFiles(context, back.files);
      recipe = back.recipe;
      what = 'go back';
      totals.again += 1;
    } else if (random.next() < 0.4) ({ recipe, what } = editRecipe(recipe, random));
    else what = editFiles(context, random);
    if (recipe.ignore === '') rmSync(join(context, '.dockerignore'), { force: true });
    else writeFileSync(join(context, '.dockerignore'), `${recipe.ignore}\n`);
    log.push(`${round}: ${what}`);
    const withTimes = recipe.epoch !== '';
    const ours = await outcomeOf(cached, requestOf(recipe, false), withTimes);
    const state = JSON.stringify([[...readFiles(context)], recipe]);
    const expected = oracle.texts.get(state) ?? (await buildWithoutCache(oracle.engine, recipe));
    oracle.texts.set(state, expected);
    totals.executed += ours.executed;
    totals.cached += ours.cached;
    hasFailed = /^[A-Z_]+: /.test(ours.text);
    if (hasFailed) totals.failed += 1;
    else states.push({ files: readFiles(context), recipe });
    if (states.length > REMEMBERED) states.shift();
    if (ours.text !== expected) {
      console.log(`WRONG at edit ${round} of seed ${seed}; the last edits:\n${log.slice(-10).join('\n')}`);
      console.log(dockerfileOf(recipe));
      showDifference(ours.text, expected);
      return false;
    }
    if (round % EMPTIED_AFTER === 0) {
      pruneImages(oracle.engine, ({ tags }) => tags.length === 0);
      pruneCache(oracle.engine, { all: true });
    }
    if (round % 100 === 0)
      console.log(
        `${round} edits, ${((Date.now() - started) / 1000).toFixed(0)} s, ${JSON.stringify(totals)}`,
      );
  }
  console.log(
    JSON.stringify({
      edits: Number(count),
      seed: Number(seed),
      wrong: 0,
      ...totals,
      seconds: Math.round((Date.now() - started) / 1000),
    }),
  );
  return true;
}

function showDifference(ours: string, theirs: string): void {
  const other = theirs.split('\n');
  ours.split('\n').forEach((line, at) => {
    if (line !== other[at]) console.log(`cached:   ${line}\nno cache: ${other[at] ?? ''}`);
  });
}

mkdirSync(context);
makeFiles(context);
const [cached, oracle] = [engineAt('cached', LIMIT), engineAt('oracle')];
try {
  const tar = makeBusyboxTar(directory);
  for (const engine of [cached, oracle]) await importBase(engine, tar);
  if (!(await soak(cached, { engine: oracle, texts: new Map() }))) process.exitCode = 1;
} finally {
  for (const engine of [cached, oracle]) await engine[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

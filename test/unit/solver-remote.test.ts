/** Records from elsewhere, and layers that are nowhere: when steps are executed, and when not. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf, type CacheKey, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { RunOp } from '../../src/graph/ops.ts';
import { createContextHandler } from '../../src/solver/exec/context.ts';
import { createMergeHandler } from '../../src/solver/exec/merge.ts';
import type { ProgressEvent } from '../../src/progress/progress.ts';
import type { OpHandlers, StepRecord, VertexContext } from '../../src/solver/handler.ts';
import { openRecordStore } from '../../src/solver/records.ts';
import type { RemoteRecords } from '../../src/solver/remote-records.ts';
import { emptyStack, identityOf, pushLayer, type Result } from '../../src/solver/result.ts';
import { solve, type Solution } from '../../src/solver/solve.ts';

const platform = { os: 'linux', architecture: 'amd64' };
let directory: string;
let clock = 0;
const host: Host = { now: () => (clock += 1), unique: () => `t${(clock += 1)}` };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-remote-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const scratch = (): Vertex => createVertex({ op: { kind: 'image', platform }, inputs: [], name: 'scratch' });

function run(text: string, ...inputs: readonly Vertex[]): Vertex {
  const op: RunOp = {
    kind: 'run',
    args: [text],
    env: [],
    volatileEnv: [],
    cwd: '/',
    user: '',
    network: 'default',
    security: 'sandbox',
    mounts: [],
    platform,
  };
  return createVertex({ op, inputs, name: `RUN ${text}` });
}

/** A machine: its records and its layers. */
interface Machine {
  readonly ran: string[];
  readonly layers: Set<string>;
  /** What was told of a step, in order. */
  states(name: string): readonly string[];
  build(target: Vertex, remote?: RemoteRecords): Promise<Solution>;
}

/** `work`: what a step makes, by its text; equal texts make equal layers. */
function machine(name: string, work: (text: string) => string = (text) => text): Machine {
  const ran: string[] = [];
  const layers = new Set<string>();
  const events: ProgressEvent[] = [];
  const isAvailable = (result: Result): boolean =>
    result.kind !== 'stack' || result.layers.every(({ diffID }) => layers.has(diffID));
  const refuse = {
    cacheMap: () => Promise.reject(new Error('not in this test')),
    exec: () => Promise.reject(new Error('not in this test')),
  };
  const handlers: OpHandlers = {
    image: {
      cacheMap: () => Promise.resolve(undefined),
      exec: ({ op }) =>
        Promise.resolve(
          op.image === undefined
            ? emptyStack
            : pushLayer(emptyStack, { diffID: digestOf('base') as DiffID, created: 0 }),
        ),
    },
    context: createContextHandler(),
    merge: createMergeHandler(),
    run: {
      cacheMap: ({ op, inputs }: VertexContext<RunOp>) =>
        Promise.resolve({ named: { kind: 'run', args: op.args, inputs: inputs.map(identityOf) } }),
      exec({ op, inputs }) {
        const [parent = emptyStack] = inputs;
        assert.equal(parent.kind, 'stack');
        const lost = inputs.find((input) => !isAvailable(input));
        if (lost !== undefined)
          return Promise.reject(new TsbuildError('LAYER_LOST', 'cannot find the bytes of a layer'));
        const text = op.args[0] ?? '';
        ran.push(text);
        const diffID = digestOf(work(text)) as DiffID;
        layers.add(diffID);
        return Promise.resolve(pushLayer(parent, { diffID, created: host.now() }));
      },
    },
    copy: refuse,
    git: refuse,
    http: refuse,
  };
  return {
    ran,
    layers,
    states(name) {
      const ids = events.flatMap((each) =>
        each.kind === 'vertex' && each.name === name ? [each.vertex] : [],
      );
      return events.flatMap((each) =>
        each.kind === 'status' && ids.includes(each.vertex) ? [each.status.kind] : [],
      );
    },
    build: (target, remote) =>
      solve(target, {
        handlers,
        hasFiles: (result) =>
          result.kind !== 'stack' || result.layers.slice(-1).every(({ diffID }) => layers.has(diffID)),
        records: openRecordStore(join(directory, name), host),
        isAvailable: (result) => Promise.resolve(isAvailable(result)),
        host,
        sink: { emit: (event) => void events.push(event) },
        parallelism: 2,
        signal: new AbortController().signal,
        ...(remote === undefined ? {} : { remote }),
      }),
  };
}

/** What a machine tells others, in memory. */
function sharedRecords(): RemoteRecords & {
  readonly records: Map<string, StepRecord>;
  readonly told: string[];
} {
  const records = new Map<string, StepRecord>();
  const told: string[] = [];
  return {
    records,
    told,
    find: (key: CacheKey) => Promise.resolve(records.get(key)),
    keep(record, vertex) {
      told.push(vertex.name);
      records.set(record.key, record);
    },
  };
}

test('what another machine recorded is not executed, and is known here from then on', async () => {
  const target = run('b', run('a', scratch()));
  const remote = sharedRecords();
  const first = machine('one');
  const made = await first.build(target, remote);
  assert.deepEqual(remote.told, ['RUN a', 'RUN b']);
  const second = machine('two');
  for (const layer of first.layers) second.layers.add(layer);
  const found = await second.build(target, remote);
  assert.deepEqual([found.executed, found.cached], [0, 2]);
  assert.deepEqual(found.result, made.result);
  remote.records.clear();
  assert.equal((await second.build(target, remote)).executed, 0);
});

test('records that were found here are told as well, and those of --no-cache are not asked for', async () => {
  const target = run('a', scratch());
  const remote = sharedRecords();
  const one = machine('one');
  await one.build(target);
  await one.build(target, remote);
  assert.deepEqual(remote.told, ['RUN a']);
  await one.build({ ...target, noCache: true }, remote);
  assert.deepEqual(one.ran, ['a', 'a']);
});

test('a stage whose layers are nowhere is not executed while nobody looks into it', async () => {
  const target = run('final', scratch(), run('stage', scratch()));
  const remote = sharedRecords();
  const first = machine('one');
  await first.build(target, remote);
  const second = machine('two');
  second.layers.add(digestOf('final'));
  const found = await second.build(target, remote);
  assert.deepEqual([found.executed, found.cached, found.skipped], [0, 1, 1]);
  assert.deepEqual(second.states('RUN final'), ['started', 'cached']);
  assert.deepEqual(second.states('RUN stage'), ['started', 'skipped']);
  // Recorded here by now, which changes nothing.
  assert.equal((await second.build(target)).skipped, 1);
});

test('a stage whose layers are nowhere is executed when a later step needs its files', async () => {
  const stage = run('stage 2', run('stage 1', scratch()));
  const remote = sharedRecords();
  await machine('one').build(run('final', scratch(), stage), remote);
  const second = machine('two');
  const found = await second.build(run('changed', scratch(), stage), remote);
  assert.deepEqual(second.ran, ['stage 1', 'stage 2', 'changed']);
  assert.deepEqual([found.executed, found.cached, found.skipped], [3, 0, 0]);
  assert.deepEqual(second.states('RUN stage 1'), ['started', 'started', 'executing', 'done']);
});

test('two steps that need the same lost stage have it executed once', async () => {
  const stage = run('stage', scratch());
  const remote = sharedRecords();
  await machine('one').build(stage, remote);
  const second = machine('two');
  const target = run('top', run('left', scratch(), stage), run('right', scratch(), stage));
  await second.build(target, remote);
  assert.deepEqual(second.ran.toSorted(), ['left', 'right', 'stage', 'top']);
});

test('a target whose layers are nowhere is executed, and its parents where they are needed', async () => {
  const target = run('b', run('a', scratch()));
  const remote = sharedRecords();
  await machine('one').build(target, remote);
  const second = machine('two');
  const found = await second.build(target, remote);
  assert.deepEqual(second.ran, ['a', 'b']);
  assert.equal(found.result.kind, 'stack');
});

test('a lost stage that comes out otherwise gives the steps after it new keys', async () => {
  const stage = run('stage', scratch());
  const remote = sharedRecords();
  await machine('one').build(run('final', stage), remote);
  const keys = new Set(remote.records.keys());
  const second = machine('two', (text) => `${text} at another time`);
  await second.build(run('final', stage), remote);
  assert.deepEqual(second.ran, ['stage', 'final']);
  assert.equal([...remote.records.keys()].filter((key) => !keys.has(key)).length, 1);
});

test('a base image whose layers are gone fails the step, with no second try', async () => {
  const image = createVertex({
    op: { kind: 'image', platform, image: { reference: 'x', manifest: digestOf('x') } },
    inputs: [],
    name: 'x',
  });
  const one = machine('one');
  await assert.rejects(one.build(run('a', image)), (error) => isTsbuildError(error, 'LAYER_LOST'));
  assert.deepEqual(one.ran, []);
});

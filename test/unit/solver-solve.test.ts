import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { RunOp } from '../../src/graph/ops.ts';
import type { ProgressEvent } from '../../src/progress/progress.ts';
import { createContextHandler } from '../../src/solver/exec/context.ts';
import { createMergeHandler } from '../../src/solver/exec/merge.ts';
import type { OpHandler, OpHandlers, VertexContext } from '../../src/solver/handler.ts';
import { openRecordStore } from '../../src/solver/records.ts';
import { emptyStack, identityOf, pushLayer, type Result } from '../../src/solver/result.ts';
import { inOrder, solve, type SolveOptions } from '../../src/solver/solve.ts';

let root: string;
let clock = 0;
let names = 0;
const host: Host = { now: () => (clock += 1), unique: () => `t${(names += 1)}` };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-solver-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const platform = { os: 'linux', architecture: 'amd64' };
const scratch = (): Vertex => createVertex({ op: { kind: 'image', platform }, inputs: [], name: 'scratch' });

function run(text: string, parent: Vertex, extra: readonly Vertex[] = []): Vertex {
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
  const source = {
    file: 'Dockerfile',
    text: `RUN ${text}`,
    range: { startLine: 1, startColumn: 1, endLine: 1, endColumn: 5 },
  };
  return createVertex({ op, inputs: [parent, ...extra], name: `RUN ${text}`, source });
}

/** A real handler whose work is a function: the layer's identity is what it returns. */
function handlersFor(work: (context: VertexContext<RunOp>) => Promise<string>): OpHandlers {
  const runHandler: OpHandler<RunOp> = {
    cacheMap: (context) =>
      Promise.resolve({
        named: {
          kind: 'run',
          args: context.op.args,
          inputs: context.inputs.map((input) => identityOf(input)),
        },
      }),
    async exec(context) {
      const name = await work(context);
      const parent = context.inputs[0];
      assert.equal(parent?.kind, 'stack');
      return pushLayer(parent, { diffID: digestOf(name) as DiffID, created: host.now() });
    },
  };
  const refuse = {
    cacheMap: () => Promise.reject(new Error('not in this test')),
    exec: () => Promise.reject(new Error('not in this test')),
  };
  return {
    image: { cacheMap: () => Promise.resolve(undefined), exec: () => Promise.resolve(emptyStack) },
    context: createContextHandler(),
    merge: createMergeHandler(),
    run: runHandler,
    copy: refuse,
    git: refuse,
    http: refuse,
  };
}

function options(handlers: OpHandlers, more: Partial<SolveOptions> = {}): SolveOptions {
  return {
    handlers,
    records: openRecordStore(root, host),
    isAvailable: () => Promise.resolve(true),
    host,
    sink: { emit: () => undefined },
    parallelism: 2,
    signal: new AbortController().signal,
    ...more,
  };
}

test('a vertex shared by two branches runs once', async () => {
  const ran: string[] = [];
  const shared = run('base', scratch());
  const target = run('top', run('left', shared), [run('right', shared)]);
  await solve(target, options(handlersFor(async ({ op }) => (ran.push(op.args[0] ?? ''), op.args[0] ?? ''))));
  assert.deepEqual(ran.toSorted(), ['base', 'left', 'right', 'top']);
  assert.equal(ran.at(-1), 'top');
});

test('a second solve of the same graph executes nothing and gives the same layers', async () => {
  const target = run('b', run('a', scratch()));
  const handlers = handlersFor(async ({ op }) => op.args[0] ?? '');
  const first = await solve(target, options(handlers));
  const second = await solve(target, options(handlers));
  assert.deepEqual([first.executed, first.cached], [2, 0]);
  assert.deepEqual([second.executed, second.cached], [0, 2]);
  assert.deepEqual(second.result, first.result);
});

test('a step executed again with the same outcome leaves later steps cached', async () => {
  const handlers = handlersFor(async ({ op }) => (op.args[0] === 'b' ? 'b' : 'same'));
  await solve(run('b', run('a', scratch())), options(handlers));
  const again = await solve(run('b', run('a2', scratch())), options(handlers));
  assert.deepEqual([again.executed, again.cached], [1, 1]);
});

test('a description that did part of the work ends it, and gives up what it holds once, hit or not', async () => {
  const events: string[] = [];
  const base = handlersFor(() => Promise.reject(new Error('the handler itself does nothing')));
  const { run: described } = base;
  const handlers: OpHandlers = {
    ...base,
    run: {
      ...described,
      async cacheMap(context) {
        const description = await described.cacheMap(context);
        assert.ok(description !== undefined);
        return {
          ...description,
          exec: () => {
            events.push('exec');
            return Promise.resolve(pushLayer(emptyStack, { diffID: digestOf('x') as DiffID, created: 1 }));
          },
          release: () => void events.push('release'),
        };
      },
    },
  };
  const target = run('a', scratch());
  const first = await solve(target, options(handlers));
  assert.deepEqual([first.executed, events.splice(0)], [1, ['exec', 'release']]);
  const second = await solve(target, options(handlers));
  assert.deepEqual([second.executed, second.result, events], [0, first.result, ['release']]);
});

test('noCache executes and records all the same', async () => {
  const handlers = handlersFor(async ({ op }) => op.args[0] ?? '');
  const plain = run('a', scratch());
  await solve(plain, options(handlers));
  const forced = await solve({ ...plain, noCache: true }, options(handlers));
  assert.equal(forced.executed, 1);
  const after = await solve(plain, options(handlers));
  assert.equal(after.cached, 1);
});

test('a record whose layer is gone counts as absent', async () => {
  const handlers = handlersFor(async ({ op }) => op.args[0] ?? '');
  await solve(run('a', scratch()), options(handlers));
  const again = await solve(
    run('a', scratch()),
    options(handlers, { isAvailable: () => Promise.resolve(false) }),
  );
  assert.equal(again.executed, 1);
});

test('a record that was torn by a crash counts as absent', async () => {
  const handlers = handlersFor(async ({ op }) => op.args[0] ?? '');
  await solve(run('a', scratch()), options(handlers));
  for (const shard of readdirSync(join(root, 'steps')))
    for (const file of readdirSync(join(root, 'steps', shard)))
      writeFileSync(join(root, 'steps', shard, file), '{"key"');
  const again = await solve(run('a', scratch()), options(handlers));
  assert.equal(again.executed, 1);
});

test('independent vertices run side by side, up to the limit', async () => {
  let running = 0;
  let most = 0;
  const handlers = handlersFor(async ({ op }) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 20));
    running -= 1;
    return op.args[0] ?? '';
  });
  const branches = ['a', 'b', 'c', 'd'].map((name) => run(name, scratch()));
  await solve(run('top', scratch(), branches), options(handlers));
  assert.equal(most, 2);
});

test('two vertices that turn out to be the same work execute once', async () => {
  let ran = 0;
  const handlers = handlersFor(async ({ op }) => {
    ran += op.args[0] === 'x' ? 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, 10));
    return op.args[0] === 'x' ? 'x' : 'equal';
  });
  const target = run('top', run('x', run('a', scratch())), [run('x', run('b', scratch()))]);
  await solve(target, options(handlers));
  assert.equal(ran, 1);
});

test('the first failure aborts the siblings, carries its line, and is what solve throws', async () => {
  const aborted: string[] = [];
  const handlers = handlersFor(async ({ op, signal }) => {
    if (op.args[0] === 'bad') throw new TsbuildError('RUN_FAILED', 'RUN exited with code 3');
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    aborted.push(op.args[0] ?? '');
    throw new TsbuildError('ABORTED', 'aborted');
  });
  const events: ProgressEvent[] = [];
  const target = run('top', run('bad', scratch()), [run('slow', scratch())]);
  await assert.rejects(
    solve(target, options(handlers, { sink: { emit: (event) => events.push(event) } })),
    (error) => {
      assert.ok(isTsbuildError(error, 'RUN_FAILED'));
      assert.equal(error.source?.text, 'RUN bad');
      return true;
    },
  );
  assert.deepEqual(aborted, ['slow']);
  const ends = events.flatMap((event) =>
    event.kind === 'status' && event.status.kind !== 'started' ? [event.status.kind] : [],
  );
  assert.deepEqual(ends.toSorted(), ['canceled', 'done', 'executing', 'executing', 'failed']);
});

test('an abort by the caller is reported as such', async () => {
  const abort = new AbortController();
  const handlers = handlersFor(
    ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new TsbuildError('ABORTED', 'stopped')), {
          once: true,
        });
        abort.abort();
      }),
  );
  await assert.rejects(solve(run('a', scratch()), options(handlers, { signal: abort.signal })), (error) =>
    isTsbuildError(error, 'ABORTED'),
  );
});

test('inOrder lists inputs before users, each once, for chains of any length', () => {
  let vertex = scratch();
  for (let index = 0; index < 20_000; index += 1)
    vertex = { ...run('x', scratch()), id: digestOf(`${index}`), inputs: [vertex] };
  const order = inOrder(vertex);
  assert.equal(order.length, 20_001);
  assert.equal(order.at(-1), vertex);
});

test('onResult is told of each result before later vertices run', async () => {
  const seen: [string, Result['kind']][] = [];
  const handlers = handlersFor(async ({ op }) => {
    if (op.args[0] === 'b') assert.deepEqual(seen.at(-1), ['RUN a', 'stack']);
    return op.args[0] ?? '';
  });
  await solve(
    run('b', run('a', scratch())),
    options(handlers, { onResult: (vertex, result) => seen.push([vertex.name, result.kind]) }),
  );
  assert.equal(seen.length, 3);
});

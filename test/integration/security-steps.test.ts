/** Attacks on what is done for a build step: entitlements, and mount points that must be taken away again. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import type { RunOp } from '../../src/graph/ops.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { Layer } from '../../src/layer/layer.ts';
import { openRootFs } from '../../src/layer/open-tree.ts';
import { createRunHandler } from '../../src/solver/exec/run.ts';
import type { VertexContext } from '../../src/solver/handler.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import { execFileSync } from 'node:child_process';
import { storeLayer, testHost } from '../suites/layer-fixture.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

/** The parent of the lowest layer. */
const BOTTOM: ChainID | undefined = undefined;

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

function never(): never {
  throw new Error('nothing may be done for it');
}

test('CVE-2024-23653: a graph from elsewhere gets no more than the user allowed', async () => {
  const handler = createRunHandler({
    snapshotter: never,
    runtime: never,
    stacks: { snapshotOf: never, isAtHand: never, noteMade: never },
    containerSpec: never,
    mountIdentity: never,
    prepareMounts: never,
    stubs: never,
    endStep: never,
    now: () => 0,
    allowed: new Set(),
    extraHosts: [],
  });
  const op = { kind: 'run', args: ['id'], security: 'sandbox', network: 'default' } as unknown as RunOp;
  const refused = (error: unknown): boolean => isTsbuildError(error, 'INSTRUCTION_INVALID');
  for (const asked of [{ security: 'insecure' }, { network: 'host' }] as const) {
    const context = { op: { ...op, ...asked }, inputs: [] } as unknown as VertexContext<RunOp>;
    await assert.rejects(async () => handler.cacheMap(context), refused);
    await assert.rejects(async () => handler.exec(context), refused);
  }
});

test('CVE-2024-23652: a mount point that a step replaced by a symlink is not removed where that leads', async () => {
  const directory = join(box.directory, 'steps');
  const victim = join(box.directory, 'victim');
  for (const path of ['sub/x', 'empty']) mkdirSync(join(victim, path), { recursive: true });
  writeFileSync(join(victim, 'sub/file'), '');
  const times = (): number[] =>
    ['', 'sub', 'sub/x', 'sub/file'].map((path) => statSync(join(victim, path)).mtimeMs);
  const before = times();
  const layers = openLayerStore(join(directory, 'layers'), testHost);
  const base: Layer = storeLayer(
    layers,
    execFileSync('tar', ['-C', box.root, '-c', '.'], { maxBuffer: 1 << 28 }),
  );
  for (const driver of ['copy', 'overlay'] as const) {
    const snapshots = openSnapshotter({ root: join(directory, driver), host: testHost, layers, driver });
    const { name } = await snapshots.apply(BOTTOM, base);
    await using active = await snapshots.prepare(name, {
      stubs: [
        { path: '/m/sub/x', type: 'directory' },
        { path: '/m/sub/file', type: 'file' },
      ],
    });
    const { stdout } = await box.sh(
      `mv /m /gone 2>/dev/null; ln -s ${victim} /m 2>/dev/null; readlink /m; ls /gone`,
      {
        mounts: active.mounts,
        volumes: [{ kind: 'tmpfs', target: '/m/sub/x', mode: 0o755 }],
      },
    );
    if (driver === 'copy') assert.equal(stdout, `${victim}\nsub\n`, 'the step did what it is about');
    await active.commit();
    assert.deepEqual(times(), before);
    assert.equal(readFileSync(join(victim, 'sub/file'), 'utf8'), '');
  }
});

test('a root that is changed by descriptors stays in itself, whoever swaps names', () => {
  const root = join(box.directory, 'swapped');
  const victim = join(box.directory, 'elsewhere');
  for (const path of [join(root, 'd'), victim]) mkdirSync(path, { recursive: true });
  using tree = openRootFs(root);
  using directory = tree.directory('d');
  execFileSync('sh', ['-c', `mv ${root}/d ${root}/was && ln -s ${victim} ${root}/d`]);
  directory.makeFile('f', 0o644);
  directory.makeDirectory('e', 0o755);
  assert.throws(
    () => tree.directory('d'),
    (error) => isTsbuildError(error, 'IO_FAILED'),
  );
  assert.deepEqual(execFileSync('ls', [join(root, 'was')], { encoding: 'utf8' }), 'e\nf\n');
  assert.equal(execFileSync('ls', [victim], { encoding: 'utf8' }), '');
  directory.removeDirectory('e');
  directory.removeFile('f');
});

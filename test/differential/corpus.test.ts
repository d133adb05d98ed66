/**
 * Every Dockerfile of fixtures/dockerfiles, built by tsbuild and by buildah, gives the same files and the
 * same config. Where buildah is known to do something else than BuildKit, the case says what is right.
 *
 * `CORPUS=012-,copy` runs the cases whose names hold one of these; `CORPUS_KEEP=1` leaves the directory.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { removeBridges } from '../e2e/fixture.ts';
import { makeBaseTar } from './base-image.ts';
import { createBuildah, createTsbuild, type Builder, type Outcome } from './builders.ts';
import { readCorpus, stageCase, type CorpusCase } from './case.ts';
import { compareImages } from './comparison.ts';
import { unmetExpectations } from './expectation.ts';
import { serveFiles, type FileServer } from './file-server.ts';

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'root is needed to build';
  if (spawnSync('buildah', ['--version']).status !== 0) return 'buildah is not installed';
  if (spawnSync('/bin/busybox', ['true']).status !== 0) return 'busybox-static is not installed';
  return false;
}

const skip = whyNot();
const only = process.env.CORPUS?.split(',') ?? [''];
const corpus = readCorpus().filter(({ name }) => only.some((part) => name.includes(part)));

interface Bench {
  readonly directory: string;
  readonly tsbuild: Builder;
  readonly buildah: Builder;
  readonly server: FileServer;
}

async function build(bench: Bench, each: CorpusCase, which: 'tsbuild' | 'buildah'): Promise<Outcome> {
  const context = join(bench.directory, which, each.name, 'context');
  stageCase(each, context);
  for (const [file, name] of Object.entries(each.bases)) {
    const { code, output } = await bench[which].buildBase(context, file, name);
    if (code !== 0) return { code, output };
  }
  const address = `${bench.server.address}/${which}/${each.name}/context`;
  const args = each.args.map((arg) => arg.replace('@HTTP@', address));
  return bench[which].build(context, join(bench.directory, which, each.name, 'image'), args);
}

function checkFailure({ code, output }: Outcome, error: CorpusCase['error']): void {
  assert.notEqual(code, 0, `tsbuild built what must fail:\n${output}`);
  assert.equal(code === 70, false, `tsbuild failed with a bug:\n${output}`);
  assert.ok(output.includes(`[${error?.code ?? ''}]`), `tsbuild failed for another reason:\n${output}`);
  if (error?.line !== undefined)
    assert.match(output, new RegExp(`Dockerfile:${error.line}:`), `tsbuild points elsewhere:\n${output}`);
}

async function checkCase(bench: Bench, each: CorpusCase, t: TestContext): Promise<void> {
  const imageOf = (which: string): string => join(bench.directory, which, each.name, 'image');
  const ours = await build(bench, each, 'tsbuild');
  const theirs = await build(bench, each, 'buildah');
  const { differs } = each;
  if (each.expect === 'fail') {
    checkFailure(ours, each.error);
    if (differs === undefined) assert.notEqual(theirs.code, 0, `buildah builds this:\n${theirs.output}`);
    else if (theirs.code !== 0) t.diagnostic(`no longer differs: buildah fails too: ${theirs.output}`);
    return;
  }
  assert.equal(ours.code, 0, `tsbuild failed:\n${ours.output}`);
  const image = await bench.tsbuild.readImage(imageOf('tsbuild'));
  assert.deepEqual(unmetExpectations(image, differs?.expect ?? {}), []);
  if (theirs.code !== 0) {
    assert.equal(differs?.buildah, 'fails', `buildah failed:\n${theirs.output}`);
    return;
  }
  if (differs?.buildah === 'fails') t.diagnostic('no longer differs: buildah builds this');
  const other = await bench.buildah.readImage(imageOf('buildah'));
  const known = {
    paths: new Set(Object.keys(differs?.expect.paths ?? {})),
    fields: new Set(Object.keys(differs?.expect.config ?? {})),
  };
  assert.deepEqual(compareImages(image, other, known), []);
  const isSame = compareImages(image, other, { paths: new Set(), fields: new Set() }).length === 0;
  if (differs !== undefined && isSame) t.diagnostic('no longer differs: the images are the same');
}

describe('tsbuild and buildah build the same from', { concurrency: 2 }, () => {
  let bench: Bench | undefined;

  before(async () => {
    if (skip !== false) return;
    const directory = mkdtempSync(join(tmpdir(), 'tsbuild-corpus-'));
    const server = await serveFiles(directory);
    bench = { directory, tsbuild: createTsbuild(directory), buildah: createBuildah(directory), server };
    const tar = makeBaseTar(directory);
    await bench.tsbuild.importBase(tar);
    await bench.buildah.importBase(tar);
  });

  after(async () => {
    if (bench === undefined) return;
    await bench.server[Symbol.asyncDispose]();
    // why: the overlay driver of containers/storage keeps its root mounted privately on itself.
    spawnSync('umount', ['-l', join(bench.directory, 'storage', 'overlay')], { stdio: 'ignore' });
    if (process.env.CORPUS_KEEP === undefined) rmSync(bench.directory, { recursive: true, force: true });
    removeBridges();
  });

  for (const each of corpus)
    test(`${each.name} (${each.row})`, { skip }, async (t) => {
      if (bench === undefined) throw new Error('nothing to build with');
      await checkCase(bench, each, t);
      for (const which of ['tsbuild', 'buildah'])
        if (process.env.CORPUS_KEEP === undefined)
          rmSync(join(bench.directory, which, each.name), { recursive: true, force: true });
    });
});

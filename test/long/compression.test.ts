/** Layers as they travel: forms, levels, and what other programs make of them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type RunningRegistry,
  type Workspace,
} from '../e2e/fixture.ts';

let space: Workspace;
let registry: RunningRegistry;
before(async () => {
  space = openWorkspace();
  importBusybox(space);
  registry = await startRegistry(space.directory);
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

interface Manifest {
  readonly layers: readonly { readonly mediaType: string; readonly digest: string; readonly size: number }[];
}

function manifestOf(image: string): Manifest {
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${image}`], {
    encoding: 'utf8',
  });
  return JSON.parse(raw) as Manifest;
}

function typesOf(image: string): readonly string[] {
  return manifestOf(image).layers.map(({ mediaType }) => mediaType.replace(/^.*layer\.v1\./, ''));
}

/** Text of 24 MiB: large enough to be uploaded while it is compressed. */
const LARGE =
  'FROM bb:1\nRUN seq 1 3200000 > /numbers\nRUN echo end > /end\nCMD ["sh", "-c", "tail -n 1 /numbers; cat /end"]\n';

function push(name: string, ...flags: readonly string[]): string {
  const context = space.context('large', { Dockerfile: LARGE });
  return space.ok(['-t', name, '--push', '--progress', 'plain', ...flags, context], {
    env: { TSBUILD_TRACE: 'http' },
  }).stderr;
}

/** Through buildah, and back through tsbuild with an empty state. */
function isReadable(name: string): void {
  const storage = join(space.directory, `storage-${name.replaceAll(/\W/g, '-')}`);
  mkdirSync(storage);
  const buildah = (...args: readonly string[]): string =>
    execFileSync(
      'buildah',
      ['--root', storage, '--runroot', `${storage}-run`, '--storage-driver', 'vfs', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  buildah('pull', '-q', '--tls-verify=false', name);
  const container = buildah('from', '--pull-never', name).trim();
  const mounted = buildah('mount', container).trim();
  assert.match(readFileSync(join(mounted, 'numbers'), 'utf8'), /\n3200000\n$/);
  buildah('umount', container);
  buildah('rm', container);
  runs(name);
}

function runs(name: string): void {
  const env = { TSBUILD_ROOT: join(space.directory, `state-${name.replaceAll(/\W/g, '-')}`) };
  assert.equal(space.ok(['run', name], { env }).stdout, '3200000\nend\n');
}

test('a layer goes to the registry while it is compressed; skopeo, umoci, gunzip and buildah read it', () => {
  const name = `${registry.host}/forms/gzip:1`;
  const trace = push(name);
  assert.match(trace, /http > PATCH/);
  assert.deepEqual(typesOf(name), ['tar+gzip', 'tar+gzip', 'tar+gzip']);
  isReadable(name);
  const layout = join(space.directory, 'gzip-layout');
  execFileSync('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${layout}:1`]);
  execFileSync('umoci', ['unpack', '--image', `${layout}:1`, join(space.directory, 'gzip-bundle')], {
    stdio: 'pipe',
  });
  for (const blob of readdirSync(join(layout, 'blobs/sha256'))) {
    const path = join(layout, 'blobs/sha256', blob);
    if (readFileSync(path).readUInt16BE(0) === 0x1f8b)
      execFileSync('gzip', ['-t'], { input: readFileSync(path) });
  }
  // Nothing is compressed twice: what is known is asked for, and is there.
  const again = push(name);
  assert.doesNotMatch(again, /http > (PATCH|PUT \S+digest)/);
});

test('zstd by flag and by attribute, with a level; the same bytes either way', () => {
  const [flag, attribute] = [`${registry.host}/forms/zstd:1`, `${registry.host}/forms/zstd:2`];
  push(flag, '--compression', 'zstd,5');
  const context = space.context('large', { Dockerfile: LARGE });
  const output = `type=registry,name=${attribute},compression=zstd,compression-level=5`;
  space.ok(['-q', '-o', output, context]);
  assert.deepEqual(typesOf(flag), ['tar+zstd', 'tar+zstd', 'tar+zstd']);
  assert.deepEqual(manifestOf(attribute), manifestOf(flag));
  isReadable(flag);
  push(`${registry.host}/forms/zstd:9`, '--compression-format', 'zstd', '--compression-level', '9');
  assert.notDeepEqual(manifestOf(`${registry.host}/forms/zstd:9`).layers, manifestOf(flag).layers);
});

test('a base keeps its form, unless force is used', () => {
  const base = `${registry.host}/forms/base:1`;
  push(base);
  const env = { TSBUILD_ROOT: join(space.directory, 'forced') };
  const context = space.context('on-base', { Dockerfile: `FROM ${base}\nRUN echo more > /more\n` });
  const [kept, forced, plain] = ['kept', 'forced', 'plain'].map(
    (tag) => `${registry.host}/forms/on-base:${tag}`,
  );
  space.ok(['-q', '-t', kept ?? '', '--push', '--compression', 'zstd', context], { env });
  assert.deepEqual(typesOf(kept ?? ''), ['tar+gzip', 'tar+gzip', 'tar+gzip', 'tar+zstd']);
  assert.deepEqual(manifestOf(kept ?? '').layers.slice(0, 3), manifestOf(base).layers);
  space.ok(['-q', '-t', forced ?? '', '--push', '--compression', 'zstd', '--force-compression', context], {
    env,
  });
  assert.deepEqual(typesOf(forced ?? ''), ['tar+zstd', 'tar+zstd', 'tar+zstd', 'tar+zstd']);
  space.ok(
    ['-q', '-t', plain ?? '', '--push', '--compression', 'uncompressed', '--force-compression', context],
    { env },
  );
  assert.deepEqual(typesOf(plain ?? ''), ['tar', 'tar', 'tar', 'tar']);
  for (const name of [kept, forced, plain]) runs(name ?? '');
  // An image that is here already is sent in another form.
  space.ok(['tag', kept ?? '', `${registry.host}/forms/pushed:1`], { env });
  space.ok(['push', '--compression', 'gzip,9', '--force-compression', `${registry.host}/forms/pushed:1`], {
    env,
  });
  assert.deepEqual(typesOf(`${registry.host}/forms/pushed:1`), [
    'tar+gzip',
    'tar+gzip',
    'tar+gzip',
    'tar+gzip',
  ]);
});

test('what cannot be is refused before anything is built', () => {
  const context = space.context('refused', { Dockerfile: LARGE });
  const name = `${registry.host}/forms/refused:1`;
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--compression', 'gzip,10'], /invalid --compression "gzip,10": no level "10"[\s\S]*levels 0 to 9/],
    [['--compression', 'zstd,0'], /levels 1 to 22/],
    [['--compression', 'gzp'], /unknown compression "gzp"[\s\S]*did you mean gzip/],
    [['--compression-format', 'zstd:chunked'], /unknown compression/],
    [['--compression', 'uncompressed,3'], /there are no levels of it/],
    [['--compression', 'gzip', '--compression-format', 'zstd'], /say different things/],
    [['--compression', 'zstd', '--format', 'docker'], /no name for zstd/],
    [['-o', 'type=registry,compression=lz4'], /invalid --output "type=registry,compression=lz4"/],
  ];
  for (const [flags, message] of cases) {
    const { code, stderr } = space.tsbuild(['-t', name, '--push', '--progress', 'plain', ...flags, context]);
    assert.equal(code, 2, flags.join(' '));
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /RUN/);
  }
});

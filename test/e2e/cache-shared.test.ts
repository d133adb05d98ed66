/** Caches that are not what they seem: directories of others, links, layers that are something else, or are gone. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { digestOf } from '../../src/base/digest.ts';
import { PLAN_TYPE } from '../../src/engine/cache/artifacts.ts';
import { countsOf, ended, machine, openCacheStand, type CacheStand } from './cache-fixture.ts';
import type { Workspace } from './fixture.ts';

let stand: CacheStand;
let space: Workspace;
let base: string;
before(async () => {
  stand = await openCacheStand();
  ({ space, base } = stand);
});
after(() => stand[Symbol.asyncDispose]());

function app(name: string, ...lines: readonly string[]): string {
  return space.context(name, { Dockerfile: `FROM ${base}\n${lines.join('\n')}\n`, f: 'file\n' });
}

/** What was built three months ago. */
function makeOld(directory: string): void {
  const long = new Date(Date.now() - 90 * 86_400_000);
  for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' }))
    utimesSync(join(directory, path), long, long);
}

for (const link of ['blobs', 'blobs/sha256', 'tags'])
  test(`nothing is written or removed through a link at ${link} of a cache`, async () => {
    const name = `link-${link.replace('/', '-')}`;
    const context = app(name, 'RUN echo one > /one');
    const directory = join(space.directory, `${name}-cache`);
    const victim = join(space.directory, `${name}-victim`);
    mkdirSync(join(victim, 'sha256'), { recursive: true });
    const hex = 'ab'.repeat(32);
    for (const file of ['passwd', hex, `sha256/${hex}`]) writeFileSync(join(victim, file), 'mine');
    makeOld(victim);
    mkdirSync(join(directory, link, '..'), { recursive: true });
    symlinkSync(victim, join(directory, link));
    const flags = [
      '--cache-from',
      `type=local,src=${directory}`,
      '--cache-to',
      `type=local,dest=${directory}`,
    ];
    const done = await machine(space, name).run('--progress', 'plain', ...flags, context);
    assert.equal(countsOf(done), '1 executed, 0 cached');
    assert.match(
      done.stderr,
      /WARN: cannot write the cache .*: ".*" is a symbolic link, and nothing is written there/,
    );
    assert.deepEqual(readdirSync(victim, { recursive: true }).sort(), [
      hex,
      'passwd',
      'sha256',
      `sha256/${hex}`,
    ]);
  });

test('a cache in a layout of images leaves the images, however old their blobs are', async () => {
  const context = app('guest', 'RUN echo one > /one');
  const directory = join(space.directory, 'guest-layout');
  const one = machine(space, 'guest-1');
  await one.run('pull', base);
  for (const tag of ['v1', 'latest']) await one.run('copy', `store:${base}`, `oci:${directory}:${tag}`);
  const flags = ['--progress', 'plain', '--cache-to', `type=local,dest=${directory},tag=cache`, context];
  for (let round = 0; round < 2; round += 1) {
    makeOld(directory);
    await one.run('--no-cache', ...flags);
  }
  for (const tag of ['v1', 'latest'])
    await machine(space, `guest-${tag}`).run('copy', `oci:${directory}:${tag}`, 'store:back:1');
  const found = await machine(space, 'guest-2').run(
    '--cache-from',
    `type=local,src=${directory},tag=cache`,
    context,
  );
  assert.equal(countsOf(found), '0 executed, 1 cached');
  // The tag of an image is not taken: its steps are kept.
  const refused = await one.run(
    '--no-cache',
    '--progress',
    'plain',
    '--cache-to',
    `type=local,dest=${directory}`,
    context,
  );
  assert.match(refused.stderr, /WARN: the cache .* names something else, an image perhaps/);
  await machine(space, 'guest-3').run('copy', `oci:${directory}:latest`, 'store:back:1');
});

interface PlanDocument {
  readonly blobs: Record<string, { readonly digest: string; readonly size: number }>;
  readonly records: { readonly result: { readonly layers: { readonly diffID: string }[] } }[];
}

/** Writes the plan of a cache anew, with all digests that lead to it; it is all that is left of the cache's documents. */
function rewritePlan(directory: string, change: (plan: PlanDocument) => void): void {
  const blobs = join(directory, 'blobs/sha256');
  const read = (digest: string): Buffer => readFileSync(join(blobs, digest.slice(7)));
  const put = (bytes: Uint8Array): { readonly digest: string; readonly size: number } => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice(7)), bytes);
    return { digest, size: bytes.byteLength };
  };
  for (const name of readdirSync(join(directory, 'tags')))
    if (name.startsWith('tsb-')) rmSync(join(directory, 'tags', name));
  const path = join(directory, 'tags/latest.json');
  const tag = JSON.parse(readFileSync(path, 'utf8')) as { readonly digest: string };
  const text = read(tag.digest).toString('utf8');
  const { config, layers } = JSON.parse(text) as {
    readonly config: { readonly digest: string };
    readonly layers: { readonly mediaType: string; readonly digest: string; readonly size: number }[];
  };
  const old = layers.find(({ mediaType }) => mediaType === PLAN_TYPE);
  assert.ok(old !== undefined);
  const plan = JSON.parse(gunzipSync(read(old.digest)).toString('utf8')) as PlanDocument;
  change(plan);
  const made = put(gzipSync(JSON.stringify(plan)));
  const moved = (json: string): string =>
    json.replaceAll(old.digest, made.digest).replaceAll(`"size":${old.size}`, `"size":${made.size}`);
  const table = Buffer.from(moved(read(config.digest).toString('utf8')));
  const manifest = JSON.parse(moved(text)) as { config: object };
  manifest.config = { ...manifest.config, ...put(table), data: table.toString('base64') };
  writeFileSync(path, JSON.stringify({ ...tag, ...put(Buffer.from(JSON.stringify(manifest))) }));
}

test('layers that a plan has exchanged are no image anywhere: what makes them is executed', async () => {
  const context = app('swapped', 'RUN echo target > /x', 'COPY f /f', 'CMD ["cat", "/x", "/f"]');
  const directory = join(space.directory, 'swapped-cache');
  await machine(space, 'swapped-1').run('--cache-to', `type=local,dest=${directory}`, context);
  rewritePlan(directory, ({ blobs }) => {
    const [a = '', b = ''] = Object.keys(blobs);
    [blobs[a], blobs[b]] = [blobs[b] as never, blobs[a] as never];
  });
  const from = ['--progress', 'plain', '--cache-from', `type=local,src=${directory}`];
  const name = `${stand.registry.host}/swapped:1`;
  const archive = join(space.directory, 'swapped.tar');
  for (const [where, ...flags] of [
    ['tag', '-t', 'x'],
    ['push', '-t', name, '--push'],
    ['export', '-t', 'x', '-o', `type=oci,dest=${archive}`],
  ]) {
    const on = machine(space, `swapped-${where}`);
    const done = await on.run(...from, ...flags, context);
    assert.match(done.stderr, /WARN: layer sha256:\w+ of an earlier build cannot be had/);
    if (where === 'tag') assert.equal((await on.run('run', '--rm', 'x')).stdout, 'target\nfile\n');
  }
  assert.equal((await machine(space, 'swapped-2').run('run', '--rm', name)).stdout, 'target\nfile\n');
  const loaded = machine(space, 'swapped-3');
  await loaded.run('load', '-i', archive);
  assert.equal((await loaded.run('run', '--rm', 'x')).stdout, 'target\nfile\n');
});

test('a layer that is one by its digest alone is made again, once', async () => {
  const context = app('broken', 'RUN echo target > /x', 'RUN cat /x > /y', 'CMD ["cat", "/y"]');
  const directory = join(space.directory, 'broken-cache');
  await machine(space, 'broken-1').run('--cache-to', `type=local,dest=${directory}`, context);
  const files = join(space.directory, 'broken-files');
  mkdirSync(files);
  for (const name of ['a', 'hl']) writeFileSync(join(files, name), '');
  execFileSync('sh', ['-c', 'ln -f a hl && tar cf all a hl && tar --delete -f all a'], { cwd: files });
  const tar = readFileSync(join(files, 'all'));
  const digest = digestOf(tar);
  writeFileSync(join(directory, 'blobs/sha256', digest.slice(7)), tar);
  rewritePlan(directory, (plan) => {
    // The first of both.
    const [record] = plan.records.filter(({ result }) => result.layers.length === 2);
    const [, layer] = record?.result.layers ?? [];
    assert.ok(layer !== undefined);
    const text = JSON.stringify(plan).replaceAll(layer.diffID, digest);
    Object.assign(plan, JSON.parse(text));
    const mediaType = 'application/vnd.oci.image.layer.v1.tar';
    Object.assign(plan.blobs, { [digest]: { mediaType, digest, size: tar.byteLength } });
  });
  const two = machine(space, 'broken-2');
  app('broken', 'RUN echo target > /x', 'RUN cat /x /x > /y', 'CMD ["cat", "/y"]');
  const from = ['--progress', 'plain', '--cache-from', `type=local,src=${directory}`];
  const done = await two.run('-t', 'x', ...from, context);
  assert.match(done.stderr, /WARN: layer sha256:\w+ of an earlier build cannot be had.*hard link/);
  assert.equal((await two.run('run', '--rm', 'x')).stdout, 'target\ntarget\n');
  assert.equal(countsOf(await two.run(context)), '0 executed, 2 cached');
});

const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  removed: (path) => rmSync(path),
  cut: (path) => truncateSync(path, statSync(path).size >> 1),
  'written over': (path) => writeFileSync(path, Buffer.alloc(statSync(path).size, 'x')),
};

const LARGE_COPY = 'COPY large /large';

for (const [damage, make] of Object.entries(DAMAGES))
  test(`a layer that was ${damage} in a directory is put there again`, async () => {
    const name = `healed-${damage.replace(' ', '-')}`;
    const context = app(name, LARGE_COPY, 'RUN wc -c < /large > /n', 'CMD ["cat", "/n"]');
    execFileSync('sh', ['-c', 'head -c 12000000 /dev/urandom > large'], { cwd: context });
    const directory = join(space.directory, `${name}-cache`);
    const flags = [
      ...['--progress', 'plain', '--cache-from', `type=local,src=${directory}`],
      ...['--cache-to', `type=local,dest=${directory}`],
    ];
    await machine(space, `${name}-1`).run(...flags, context);
    const blobs = join(directory, 'blobs/sha256');
    const large = readdirSync(blobs).find((each) => statSync(join(blobs, each)).size > 10_000_000);
    assert.ok(large !== undefined);
    make(join(blobs, large));
    const two = await machine(space, `${name}-2`).run(...flags, context);
    assert.match(two.stderr, /WARN: layer sha256:\w+ of an earlier build cannot be had/);
    const three = machine(space, `${name}-3`);
    const done = await three.run('-t', 'x', ...flags, context);
    assert.doesNotMatch(done.stderr, /WARN/);
    assert.equal(countsOf(done), '0 executed, 2 cached');
    assert.equal((await three.run('run', '--rm', 'x')).stdout, '12000000\n');
  });

/** The layer of a cache in the registry that is so large, as nobody who asks for it finds it. */
function loseLayer(repository: string): void {
  const links = join(
    stand.registry.directory,
    `data/docker/registry/v2/repositories/${repository}/_layers/sha256`,
  );
  const blobs = join(stand.registry.directory, 'data/docker/registry/v2/blobs/sha256');
  const lost = readdirSync(links).filter(
    (hex) => statSync(join(blobs, hex.slice(0, 2), hex, 'data')).size > 10_000_000,
  );
  assert.equal(lost.length, 1);
  for (const hex of lost) rmSync(join(links, hex), { recursive: true });
}

test('a cache whose registry has lost a layer is whole again, whoever builds next', async () => {
  const lines = (last: string): readonly string[] => [
    LARGE_COPY,
    `RUN echo ${last} > /n`,
    'CMD ["cat", "/n"]',
  ];
  const context = app('relost', ...lines('one'));
  execFileSync('sh', ['-c', 'head -c 12000000 /dev/urandom > large'], { cwd: context });
  const ref = `${stand.registry.host}/relost:x`;
  const one = machine(space, 'relost-1');
  await one.run('--cache-to', ref, context);
  // Who has the layer puts it again, for a step that stands upon it.
  loseLayer('relost');
  app('relost', ...lines('two'));
  const again = await one.run('--progress', 'plain', '--cache-to', ref, context);
  assert.doesNotMatch(again.stderr, /WARN/);
  const flags = ['--progress', 'plain', '--cache-from', ref, '--cache-to', ref];
  const two = await machine(space, 'relost-2').run('-t', 'x', ...flags, context);
  assert.equal(countsOf(two), '0 executed, 2 cached');
  // Who has not makes it again.
  loseLayer('relost');
  app('relost', ...lines('three'));
  const three = await machine(space, 'relost-3').run('-t', 'x', ...flags, context);
  assert.match(three.stderr, /WARN: layer sha256:\w+ of an earlier build cannot be had/);
  assert.doesNotMatch(three.stderr, /cannot write/);
  const four = machine(space, 'relost-4');
  assert.equal(countsOf(await four.run('-t', 'x', ...flags, context)), '0 executed, 2 cached');
  assert.equal((await four.run('run', '--rm', 'x')).stdout, 'three\n');
});

test('an image whose layer is gone with the cache is made again by the next build', async () => {
  const context = app('orphan', LARGE_COPY, 'CMD ["wc", "-c", "/large"]');
  execFileSync('sh', ['-c', 'head -c 12000000 /dev/urandom > large'], { cwd: context });
  const ref = `${stand.registry.host}/orphan:x`;
  await machine(space, 'orphan-1').run('--cache-to', ref, context);
  const two = machine(space, 'orphan-2');
  assert.equal(countsOf(await two.run('-t', 'o', '--cache-from', ref, context)), '0 executed, 1 cached');
  loseLayer('orphan');
  const refused = await ended(two.start('run', '--rm', 'o'));
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /REGISTRY_NOT_FOUND/);
  assert.match(refused.stderr, /built from a cache can be built again/);
  assert.equal(countsOf(await two.run('-t', 'o', context)), '1 executed, 0 cached');
  assert.equal((await two.run('run', '--rm', 'o')).stdout, '12000000 /large\n');
});

/** A cache that travels inside the image: who has the image, or a copy of it, has what its build did. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  countsOf,
  inspectRaw,
  machine,
  openCacheStand,
  type CacheStand,
  type Watched,
} from './cache-fixture.ts';
import { startRegistry, type RunningRegistry, type Workspace } from './fixture.ts';

let stand: CacheStand;
let space: Workspace;
let registry: RunningRegistry;
let watched: Watched;
let base: string;
before(async () => {
  stand = await openCacheStand();
  ({ space, registry, watched, base } = stand);
});
after(() => stand[Symbol.asyncDispose]());

const INLINE = ['--cache-to', 'type=inline'];

function app(name: string, last = 'echo last > /last'): string {
  const dockerfile = [
    `FROM ${base} AS build`,
    'COPY source.txt /source.txt',
    'RUN cp /source.txt /built.txt; date >> /built.txt',
    `FROM ${base}`,
    'COPY --from=build /built.txt /app/',
    'RUN echo one > /one',
    `RUN ${last}`,
    'CMD ["cat", "/last"]',
  ].join('\n');
  return space.context(name, { Dockerfile: dockerfile, 'source.txt': 'source\n' });
}

const imageName = (name: string): string => `${watched.host}/team/${name}:1`;
const blobsAsked = (): readonly string[] =>
  watched.requests.filter((each) => each.startsWith('GET') && each.includes('/blobs/'));
const skopeo = (...args: readonly string[]): string =>
  execFileSync('skopeo', [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const inRegistry = (name: string): string => `docker://${registry.host}/team/${name}:1`;
const rawOf = (name: string): string => skopeo('inspect', '--raw', '--tls-verify=false', inRegistry(name));

test('the image alone is a full hit elsewhere, which fetches no layer and gives the same manifest', async () => {
  const context = app('full');
  const name = imageName('full');
  const made = await machine(space, 'full-1').run('-t', name, '--push', ...INLINE, context);
  assert.equal(countsOf(made), '5 executed, 0 cached');
  const before = rawOf('full');
  const two = machine(space, 'full-2');
  watched.reset();
  const found = await two.run('-t', name, '--push', ...INLINE, '--cache-from', name, context);
  assert.equal(countsOf(found), '0 executed, 3 cached, 2 skipped');
  assert.equal(/built (\S+)/.exec(found.stderr)?.[1], /built (\S+)/.exec(made.stderr)?.[1]);
  assert.deepEqual(blobsAsked(), []);
  // The cache (the manifest itself), the base image's tag, the tag that is pushed to.
  assert.ok(watched.requests.length <= 3, watched.requests.join('\n'));
  assert.equal(rawOf('full'), before);
  assert.equal((await two.run('run', '--rm', name)).stdout, 'last\n');
});

test('a changed last step takes the layers below from the image', async () => {
  const context = app('changed');
  const name = imageName('changed');
  await machine(space, 'changed-1').run('-t', name, '--push', ...INLINE, context);
  app('changed', 'cat /one > /last');
  const two = machine(space, 'changed-2');
  const done = await two.run(
    '-t',
    name,
    '--push',
    ...INLINE,
    '--cache-from',
    `type=inline,ref=${name}`,
    context,
  );
  assert.equal(countsOf(done), '1 executed, 2 cached, 2 skipped');
  assert.equal((await machine(space, 'changed-3').run('run', '--rm', name)).stdout, 'one\n');
});

test('it survives copies by other tools, those that compress anew too', async () => {
  const context = space.context('copied', { Dockerfile: 'FROM scratch\nCOPY f /f\nCOPY f /g\n', f: 'f\n' });
  await machine(space, 'copied-1').run('-t', imageName('copied'), '--push', ...INLINE, context);
  const insecure = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  skopeo('copy', ...insecure, inRegistry('copied'), inRegistry('copy'));
  const directory = join(space.directory, 'copied-dir');
  skopeo('copy', '--src-tls-verify=false', '--dest-decompress', inRegistry('copied'), `dir:${directory}`);
  // Another registry, because in this one the tool finds the blobs that it knows.
  await using elsewhere = await startRegistry(space.directory);
  skopeo('copy', '--dest-tls-verify=false', `dir:${directory}`, `docker://${elsewhere.host}/team/copy:1`);
  const layersOf = (host: string): readonly string[] =>
    inspectRaw(host, 'team/copy:1').layers.map(({ digest }) => digest);
  assert.notDeepEqual(layersOf(elsewhere.host), layersOf(registry.host));
  for (const [index, host] of [registry.host, elsewhere.host].entries()) {
    const out = join(space.directory, `out-${index}`);
    const two = machine(space, `copied-in-${index}`);
    const found = await two.run('--cache-from', `${host}/team/copy:1`, '-o', out, context);
    assert.equal(countsOf(found), '0 executed, 2 cached');
    // Its layers are fetched by what the copy calls them.
    assert.equal(readFileSync(join(out, 'g'), 'utf8'), 'f\n');
  }
});

test('each image of an index has its own, and an OCI layout carries it to a registry', async () => {
  const context = space.context('index', {
    Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /f\nCOPY f /$TARGETARCH\n',
    f: 'f\n',
  });
  const platforms = ['--platform', 'linux/amd64,linux/arm64'];
  const layout = join(space.directory, 'layout');
  await machine(space, 'index-1').run(
    ...platforms,
    '-o',
    `type=oci,dest=${layout},tar=false`,
    ...INLINE,
    context,
  );
  skopeo('copy', '--all', '--dest-tls-verify=false', `oci:${layout}`, inRegistry('index'));
  const found = await machine(space, 'index-2').run(
    ...platforms,
    '--cache-from',
    imageName('index'),
    context,
  );
  assert.equal(countsOf(found), '0 executed, 4 cached');
});

test('an image without a cache, or with a damaged one, costs at most a warning', async () => {
  const context = space.context('none', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: 'f\n' });
  const plain = await machine(space, 'none-1').run('--cache-from', base, context);
  assert.equal(countsOf(plain), '1 executed, 0 cached');
  assert.doesNotMatch(plain.stderr, /WARN/);
  const layout = join(space.directory, 'damaged');
  await machine(space, 'none-2').run('-o', `type=oci,dest=${layout},tar=false`, ...INLINE, context);
  execFileSync('sh', [
    '-c',
    // The annotation's value is base64, and the digests follow from the bytes.
    `cd ${layout} && old=$(jq -r '.manifests[0].digest' index.json | cut -d: -f2) &&
     jq -c '.annotations["org.tsbuild.cache.plan"] = "bm90IGEgcGxhbg=="' blobs/sha256/$old > new &&
     new=$(sha256sum new | cut -d' ' -f1) && size=$(stat -c %s new) && mv new blobs/sha256/$new &&
     jq -c ".manifests[0].digest = \\"sha256:$new\\" | .manifests[0].size = $size" index.json > i && mv i index.json`,
  ]);
  skopeo('copy', '--dest-tls-verify=false', `oci:${layout}`, inRegistry('damaged'));
  const damaged = await machine(space, 'none-3').run(
    ...['--progress', 'plain', '--cache-from', imageName('damaged'), context],
  );
  assert.equal(countsOf(damaged), '1 executed, 0 cached');
  assert.match(
    damaged.stderr,
    /WARN: cannot read the cache \S+\/team\/damaged:1: what the cache holds cannot be used/,
  );
});

test('an image that goes nowhere, or has no place for it, is refused before anything is built', () => {
  const context = space.context('refused', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: 'f\n' });
  for (const [args, message] of [
    [[], /--cache-to type=inline is written with the image, which goes nowhere \[USAGE\][^]*add --push/],
    [['-o', 'type=local,dest=out'], /which goes nowhere/],
    [
      ['-t', imageName('refused'), '--push', '--format', 'docker'],
      /docker's manifests have no place for a cache/,
    ],
  ] as const) {
    const { code, stderr } = space.tsbuild([...args, ...INLINE, context]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});

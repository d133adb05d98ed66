/** Caches in a directory: an OCI layout that CI keeps from job to job. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { countsOf, machine, pushBase } from './cache-fixture.ts';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type RunningRegistry,
  type Workspace,
} from './fixture.ts';

let space: Workspace;
let registry: RunningRegistry;
let base: string;
before(async () => {
  space = openWorkspace();
  importBusybox(space);
  registry = await startRegistry(space.directory);
  base = pushBase(space, registry.host);
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

function app(name: string, last = 'last'): string {
  const Dockerfile = `FROM ${base}\nCOPY f /f\nRUN echo one > /one\nRUN echo ${last} > /last\nCMD ["cat", "/last"]\n`;
  return space.context(name, { Dockerfile, f: 'file\n' });
}

test('a directory is written, found by a fresh machine, and not needed afterwards', async () => {
  const context = app('plain');
  const directory = join(space.directory, 'plain-cache');
  await machine(space, 'plain-1').run('--cache-to', `type=local,dest=${directory}`, context);
  const two = machine(space, 'plain-2');
  const found = await two.run('-t', 'app', '--cache-from', `type=local,src=${directory}`, context);
  assert.equal(countsOf(found), '0 executed, 3 cached');
  rmSync(directory, { recursive: true });
  assert.equal((await two.run('run', '--rm', 'app')).stdout, 'last\n');
});

test('it is a layout that skopeo reads', async () => {
  const directory = join(space.directory, 'layout-cache');
  await machine(space, 'layout-1').run('--cache-to', `type=local,dest=${directory}`, app('layout'));
  const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')) as {
    manifests: { annotations: Record<string, string>; digest: string; size: number }[];
  };
  const names = index.manifests.map(({ annotations }) => annotations['org.opencontainers.image.ref.name']);
  assert.equal(names.filter((name) => name?.startsWith('tsb-')).length, 3);
  assert.ok(names.includes('latest'));
  for (const { digest, size } of index.manifests)
    assert.equal(statSync(join(directory, 'blobs/sha256', digest.slice(7))).size, size);
  assert.equal(readFileSync(join(directory, 'oci-layout'), 'utf8'), '{"imageLayoutVersion":"1.0.0"}');
});

test('a directory that is not there is a cold cache, one that is damaged a warning', async () => {
  const context = app('damaged');
  const directory = join(space.directory, 'damaged-cache');
  const flags = ['--cache-from', `type=local,src=${directory}`, '--progress', 'plain', context];
  const cold = await machine(space, 'damaged-1').run('--cache-to', `type=local,dest=${directory}`, ...flags);
  assert.doesNotMatch(cold.stderr, /WARN/);
  for (const name of readdirSync(join(directory, 'blobs/sha256')))
    writeFileSync(join(directory, 'blobs/sha256', name), 'damaged');
  const damaged = await machine(space, 'damaged-2').run(...flags);
  assert.equal(damaged.stderr.match(/WARN: cannot read the cache/g)?.length, 1, damaged.stderr);
  assert.equal(countsOf(damaged), '3 executed, 0 cached');
});

const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  cut: (path) => truncateSync(path, 10),
  removed: (path) => rmSync(path),
  'written over': (path) => writeFileSync(path, Buffer.alloc(statSync(path).size, 'x')),
};

for (const [damage, make] of Object.entries(DAMAGES))
  test(`a cache whose plans were ${damage} is whole again after the next build that writes it`, async () => {
    const name = `mended-${damage.replace(' ', '-')}`;
    const context = app(name);
    const directory = join(space.directory, `${name}-cache`);
    const from = `type=local,src=${directory}`;
    const to = `type=local,dest=${directory}`;
    await machine(space, `${name}-1`).run('--cache-to', to, context);
    const { digest } = JSON.parse(readFileSync(join(directory, 'tags/latest.json'), 'utf8')) as {
      readonly digest: string;
    };
    const manifest = join(directory, 'blobs/sha256', digest.slice(7));
    const { layers } = JSON.parse(readFileSync(manifest, 'utf8')) as {
      readonly layers: readonly { readonly digest: string }[];
    };
    // The plan's document, then what leads to it.
    for (const path of [join(directory, 'blobs/sha256', layers[0]?.digest.slice(7) ?? ''), manifest]) {
      make(path);
      await machine(space, `${name}-2`).run('--cache-from', from, '--cache-to', to, context);
      const read = await machine(space, `${name}-${basename(path)}`).run('--cache-from', from, context);
      assert.doesNotMatch(read.stderr, /WARN/);
      assert.equal(countsOf(read), '0 executed, 3 cached');
      rmSync(join(space.directory, `${name}-2`), { recursive: true });
    }
  });

test('a tag that is no file is none, and nobody waits for it', async () => {
  const context = app('no-file');
  const directory = join(space.directory, 'no-file-cache');
  await machine(space, 'no-file-1').run('--cache-to', `type=local,dest=${directory}`, context);
  for (const name of readdirSync(join(directory, 'tags'))) {
    rmSync(join(directory, 'tags', name));
    execFileSync('mkfifo', [join(directory, 'tags', name)]);
  }
  const flags = ['--cache-from', `type=local,src=${directory}`, '--cache-to', `type=local,dest=${directory}`];
  const done = await machine(space, 'no-file-2').run(...flags, context);
  assert.equal(countsOf(done), '3 executed, 0 cached');
  assert.equal(countsOf(await machine(space, 'no-file-3').run(...flags, context)), '0 executed, 3 cached');
});

test('layers that were exchanged are not used: their steps are executed', async () => {
  const context = app('exchanged');
  const directory = join(space.directory, 'exchanged-cache');
  await machine(space, 'exchanged-1').run('--cache-to', `type=local,dest=${directory}`, context);
  const blobs = join(directory, 'blobs/sha256');
  for (const name of readdirSync(blobs)) {
    const bytes = readFileSync(join(blobs, name));
    // Layers alone: gzip with our header, and no plan among the small ones with a time of zero.
    if (bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[9] === 255)
      writeFileSync(join(blobs, name), bytes.fill(7, 20, 30));
  }
  app('exchanged', 'other');
  const two = machine(space, 'exchanged-2');
  const done = await two.run(
    '-t',
    'x',
    '--cache-from',
    `type=local,src=${directory}`,
    '--progress',
    'plain',
    context,
  );
  assert.equal(
    done.stderr.match(/WARN: layer sha256:\w+ of an earlier build cannot be had/g)?.length,
    1,
    done.stderr,
  );
  assert.equal((await two.run('run', '--rm', 'x')).stdout, 'other\n');
});

test('a directory that every build writes to does not grow for ever', async () => {
  const directory = join(space.directory, 'growing-cache');
  const flags = ['--cache-from', `type=local,src=${directory}`, '--cache-to', `type=local,dest=${directory}`];
  const long = new Date(Date.now() - 90 * 86_400_000);
  const one = machine(space, 'growing-1');
  const counts: number[] = [];
  for (let n = 0; n < 4; n += 1) {
    await one.run(...flags, app('growing', `round ${n}`));
    counts.push(readdirSync(join(directory, 'blobs/sha256')).length);
    for (const folder of ['blobs/sha256', 'tags'])
      for (const name of readdirSync(join(directory, folder)))
        utimesSync(join(directory, folder, name), long, long);
  }
  assert.equal(counts[3], counts[2], counts.join(' '));
  assert.ok(existsSync(join(directory, 'tags/latest.json')));
  const found = await machine(space, 'growing-2').run(...flags, app('growing', 'round 3'));
  assert.equal(countsOf(found), '0 executed, 3 cached');
});

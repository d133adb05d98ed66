/** A base image whose files nobody needs stays where it is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type Ended,
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
  base = `${registry.host}/team/base:1`;
  const context = space.context('base', { Dockerfile: 'FROM bb:1\nRUN echo of the base > /f\n' });
  space.ok(['-q', '-t', base, '--push', context]);
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

const LINKED = (from: string): string =>
  `FROM ${from}\nCOPY --link own /own\nENV A=1\nCMD ["cat", "/f", "/own"]\n`;

interface Fresh {
  readonly root: string;
  readonly ok: (...args: readonly string[]) => Ended;
  readonly run: (...args: readonly string[]) => Ended;
}

/** A state root of its own. */
function fresh(name: string): Fresh {
  const root = join(space.directory, name);
  const env = { TSBUILD_ROOT: root, TSBUILD_TRACE: 'http' };
  return {
    root,
    ok: (...args) => space.ok(args, { env }),
    run: (...args) => space.tsbuild(args, { env }),
  };
}

interface Manifest {
  readonly layers: readonly { readonly digest: string }[];
}

function layersOf(image: string): readonly string[] {
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${image}`], {
    encoding: 'utf8',
  });
  return (JSON.parse(raw) as Manifest).layers.map(({ digest }) => digest);
}

/** Layers of the base that were downloaded, wherever from. */
function fetched({ stderr }: Ended): readonly string[] {
  return layersOf(base).filter((digest) => new RegExp(`GET \\S+/blobs/${digest}`).test(stderr));
}

function isKept({ root }: Fresh, digest: string): boolean {
  const hex = digest.slice('sha256:'.length);
  return existsSync(join(root, 'content/blobs/sha256', hex.slice(0, 2), hex.slice(2)));
}

test('COPY --link and metadata need no layer of the base; a push mounts them', () => {
  const state = fresh('linked');
  const context = space.context('linked-files', { Dockerfile: LINKED(base), own: 'own\n' });
  const name = `${registry.host}/team/linked:1`;
  const pushed = state.ok('-t', name, '--push', '--progress', 'plain', context);
  assert.deepEqual(fetched(pushed), []);
  assert.match(pushed.stderr, /http < 201 .*mount=/);
  assert.deepEqual(layersOf(name).slice(0, 2), layersOf(base));
  assert.equal(readdirSync(join(state.root, 'layers/sha256')).length, 1);
  // Everything is cached, and still nothing is fetched.
  const again = state.ok('-t', name, '--push', '--progress', 'plain', context);
  assert.match(again.stderr, /CACHED/);
  assert.deepEqual(fetched(again), []);
  // Whoever looks into it gets it.
  const ran = state.ok('run', name);
  assert.equal(ran.stdout, 'of the base\nown\n');
  assert.equal(fetched(ran).length, 2);
});

test('a push to another registry passes the base through, without keeping it', async () => {
  await using other = await startRegistry(space.directory);
  const state = fresh('through');
  const context = space.context('through-files', { Dockerfile: LINKED(base), own: 'own\n' });
  const name = `${other.host}/far/linked:1`;
  const pushed = state.ok('-t', name, '--push', '--progress', 'plain', context);
  assert.equal(fetched(pushed).length, 2);
  assert.deepEqual(layersOf(name).slice(0, 2), layersOf(base));
  for (const digest of layersOf(base)) assert.equal(isKept(state, digest), false);
  assert.equal(fresh('through-run').ok('run', name).stdout, 'of the base\nown\n');
});

test('RUN fetches what it stands on, as progress of its own', () => {
  const state = fresh('ran');
  const context = space.context('ran-files', { Dockerfile: `FROM ${base}\nRUN cat /f > /g\n` });
  const built = state.ok('-t', 'ran', '--progress', 'plain', context);
  assert.equal(fetched(built).length, 2);
  assert.match(built.stderr, /\[internal\] fetch layers of .*team\/base/);
  assert.equal(state.ok('run', 'ran', 'cat', '/g').stdout, 'of the base\n');
});

test('a base that was never fetched and cannot be any more is an error that says so', async () => {
  const gone = await startRegistry(space.directory);
  const name = `${gone.host}/short/lived:1`;
  try {
    execFileSync('skopeo', [
      ...['copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false'],
      ...[`docker://${base}`, `docker://${name}`],
    ]);
    const context = space.context('gone-files', { Dockerfile: LINKED(name), own: 'own\n' });
    fresh('gone').ok('-q', '-t', 'lived', context);
    fresh('whole').ok('pull', '-q', name);
  } finally {
    await gone[Symbol.asyncDispose]();
  }
  const refused = fresh('gone').run('run', 'lived');
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, new RegExp(`cannot pull from ${gone.host}: .*"short/lived"`));
  assert.match(refused.stderr, /hint: .*"tsbuild pull" brings them all/);
  // What was pulled is here.
  assert.equal(fresh('whole').ok('run', name, 'cat', '/f').stdout, 'of the base\n');
});

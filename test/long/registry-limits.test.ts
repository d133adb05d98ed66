/** What moving images must never do: eat memory, tell secrets, leave halves behind, change what it moves. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { digestOf } from '../../src/base/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/documents.ts';
import type { Fault } from '../registry/faults.ts';
import { startTestRegistry } from '../registry/test-registry.ts';
import { startTokenServer } from '../registry/token-server.ts';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type Ended,
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

const DOCKERFILE = 'FROM bb:1\nRUN echo pushed > /f\nCMD ["cat", "/f"]\n';

/** To its end, without blocking this process, which serves. */
function ended(child: ChildProcess, input?: string): Promise<Ended> {
  return new Promise((resolve) => {
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
    if (input !== undefined) child.stdin?.end(input);
  });
}

function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name));
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

const LAYER_BYTES = 512 << 20;

/** A layout with one layer that is a plain tar of one large file that does not compress. */
async function makeLargeLayout(directory: string): Promise<{ readonly layer: string }> {
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const tar = join(directory, 'layer.tar');
  const content = join(directory, 'large');
  execFileSync('dd', ['if=/dev/urandom', `of=${content}`, 'bs=1M', `count=${LAYER_BYTES >> 20}`], {
    stdio: 'pipe',
  });
  execFileSync('tar', ['-C', directory, '--remove-files', '--owner=0', '--group=0', '-cf', tar, 'large']);
  const layer = await sha256(tar);
  const put = (document: object): { readonly digest: string; readonly size: number } => {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { digest, size: bytes.byteLength };
  };
  const { size } = statSync(tar);
  execFileSync('mv', [tar, join(blobs, layer)]);
  const config = put({
    os: 'linux',
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
  });
  const manifest = put({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, ...config },
    layers: [{ mediaType: MEDIA_TYPES.layer, digest: `sha256:${layer}`, size }],
  });
  const annotations = { 'org.opencontainers.image.ref.name': '1' };
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ mediaType: MEDIA_TYPES.manifest, ...manifest, annotations }],
    }),
  );
  return { layer };
}

/** Runs tsbuild; gives the most memory that it held, in bytes. */
async function peakOf(...args: readonly string[]): Promise<number> {
  const child = space.start(args);
  let peak = 0;
  const sample = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) << 10);
    } catch {
      // It has ended: what was seen last counts.
    }
  }, 20);
  const { code, stderr } = await ended(child);
  clearInterval(sample);
  assert.equal(code, 0, stderr);
  assert.ok(peak > 0);
  return peak;
}

test('C26: a layer of 512 MiB is pushed and pulled in at most 150 MB, and arrives whole', async () => {
  const source = join(space.directory, 'large-layout');
  const { layer } = await makeLargeLayout(source);
  const name = `${registry.host}/large/app:1`;
  const target = join(space.directory, 'large-back');
  const steps: readonly (readonly string[])[] = [
    ['copy', `oci:${source}:1`, name],
    ['copy', name, `oci:${target}:1`],
    ['pull', name],
    ['tag', name, `${registry.host}/large/again:1`],
    ['push', `${registry.host}/large/again:1`],
  ];
  for (const step of steps) {
    const peak = await peakOf(...step);
    assert.ok(peak <= 150e6, `${step[0]} held ${Math.round(peak / 1e6)} MB`);
  }
  assert.equal(await sha256(join(target, 'blobs/sha256', layer)), layer);
});

test('C25: what save writes is read by skopeo and by load, and is the image that skopeo itself would write', async () => {
  const name = `${registry.host}/saved/app:1`;
  space.ok(['-q', '-t', name, '--push', space.context('saved', { Dockerfile: DOCKERFILE })]);
  const [ours, theirs] = [join(space.directory, 'ours.tar'), join(space.directory, 'theirs.tar')];
  space.ok(['save', '-o', ours, name]);
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--src-tls-verify=false',
    `docker://${name}`,
    `docker-archive:${theirs}:${name}`,
  ]);
  const manifestOf = (path: string): unknown =>
    JSON.parse(execFileSync('skopeo', ['inspect', '--raw', `docker-archive:${path}`], { encoding: 'utf8' }));
  assert.deepEqual(manifestOf(ours), manifestOf(theirs));
  const id = (env: NodeJS.ProcessEnv): string =>
    space.ok(['images', '-q', '--no-trunc', name], { env }).stdout.trim();
  for (const [at, archive] of [ours, theirs].entries()) {
    const env = { TSBUILD_ROOT: join(space.directory, `loaded-${at}`) };
    space.ok(['load', '-i', archive], { env });
    assert.equal(id(env), id({}), archive);
    assert.equal(space.ok(['run', name], { env }).stdout, 'pushed\n');
    const again = join(space.directory, `again-${at}.tar`);
    space.ok(['save', '-o', again, name], { env });
    assert.deepEqual(manifestOf(again), manifestOf(ours));
  }
  const { stdout } = await promisify(execFile)('tar', ['-tf', ours]);
  assert.match(stdout, /^manifest\.json$/m);
});

test('C22: after login, refused login, push and pull no secret is anywhere but in the credential file', async () => {
  const [password, wrong] = ['pa55:wörd-of-ann', 'another-pa55word'];
  const pair = { key: join(space.directory, 'token.key'), cert: join(space.directory, 'token.pem') };
  const keys = ['-newkey', 'rsa:2048', '-nodes', '-keyout', pair.key, '-out', pair.cert];
  execFileSync('openssl', ['req', '-x509', ...keys, '-days', '2', '-subj', '/CN=tokens'], { stdio: 'pipe' });
  await using tokens = await startTokenServer({
    ...pair,
    service: 'test',
    issuer: 'tests',
    users: { ann: password },
    allow: (user, repository) => user === 'ann' && !repository.startsWith('forbidden/'),
  });
  await using guarded = await startRegistry(
    space.directory,
    `auth: { token: { realm: "${tokens.realm}", service: test, issuer: tests, rootcertbundle: ${pair.cert} } }\n`,
  );
  const home = join(space.directory, 'secret-home');
  mkdirSync(join(home, 'tmp'), { recursive: true });
  const config = join(home, 'docker');
  const env = {
    HOME: home,
    TMPDIR: join(home, 'tmp'),
    DOCKER_CONFIG: config,
    TSBUILD_ROOT: join(home, 'state'),
    TSBUILD_TRACE: 'http',
  };
  const name = `${guarded.host}/ann/app:1`;
  const output: string[] = [];
  const step = async (code: number, args: readonly string[], input = ''): Promise<void> => {
    const done = await runWithInput(args, env, input);
    assert.equal(done.code, code, `${args.join(' ')}: ${done.stderr}`);
    output.push(done.stdout, done.stderr);
  };
  const login = ['login', '-u', 'ann', '--password-stdin', guarded.host];
  await step(10, login, `${wrong}\n`);
  await step(0, login, `${password}\n`);
  assert.equal(statSync(join(config, 'config.json')).mode & 0o777, 0o600);
  await step(0, ['import', join(space.directory, 'busybox.tar'), 'bb:1']);
  await step(0, [
    '-t',
    name,
    '--push',
    '--progress',
    'plain',
    space.context('secret', { Dockerfile: DOCKERFILE }),
  ]);
  await step(0, ['rmi', name]);
  await step(0, ['pull', name]);
  await step(0, ['tag', name, `${guarded.host}/forbidden/app:1`]);
  await step(10, ['push', `${guarded.host}/forbidden/app:1`]);
  await step(0, ['login', '--check', guarded.host]);
  assert.match(output.join(''), /http > PUT/);
  const basic = (word: string): string => Buffer.from(`ann:${word}`).toString('base64');
  const secrets = [password, wrong, encodeURIComponent(password), basic(password), basic(wrong)];
  const check = (text: string, where: string): void => {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${where} holds ${secret}`);
    // Any signed token, and the state of an upload session, which is as good as one.
    assert.doesNotMatch(text, /eyJ[\w-]{16,}\.eyJ|Bearer ey|[?&](_state|sig)=(?!\*)\w/, where);
  };
  check(output.join(''), 'the output');
  const kept = filesBelow(home).filter((path) => path !== join(config, 'config.json'));
  assert.ok(kept.length > 10);
  for (const path of kept) check(readFileSync(path, 'utf8'), relative(home, path));
  await step(0, ['logout', guarded.host]);
  check(readFileSync(join(config, 'config.json'), 'utf8'), 'config.json after logout');
});

function runWithInput(args: readonly string[], env: NodeJS.ProcessEnv, input: string): Promise<Ended> {
  return ended(space.start(args, env, 'pipe'), input);
}

test('C10 C11 C23: SIGINT in a push or a pull ends with 130, leaves no halves, and the next one succeeds', async () => {
  let meets: (method: string, url: string) => Fault | undefined = () => undefined;
  await using strict = await startTestRegistry({ fault: ({ method, url }) => meets(method, url) });
  const name = `${strict.host}/signal/app:1`;
  space.ok(['-q', '-t', name, space.context('signal', { Dockerfile: DOCKERFILE })]);
  const interrupted = async (
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    isThere: (method: string, url: string) => boolean,
    fault: Fault,
  ): Promise<void> => {
    const reached = new Promise<void>((resolve) => {
      meets = (method, url) => {
        if (!isThere(method, url)) return undefined;
        resolve();
        return fault;
      };
    });
    const child = space.start(args, env);
    const done = ended(child);
    await reached;
    child.kill('SIGINT');
    const { code, stderr } = await done;
    assert.equal(code, 130, stderr);
    meets = () => undefined;
  };
  const isUpload = (method: string, url: string): boolean => method === 'PUT' && url.includes('/uploads/');
  await interrupted(['push', name], {}, isUpload, { kind: 'hang' });
  assert.ok(strict.calls('DELETE').length > 0, 'the session was not ended');
  assert.deepEqual(
    strict.calls('PUT').filter((call) => call.includes('/manifests/')),
    [],
  );
  assert.equal((await ended(space.start(['push', name]))).code, 0);

  const env = { TSBUILD_ROOT: join(space.directory, 'signal-state') };
  const isLayer = (method: string, url: string): boolean => method === 'GET' && url.includes('/blobs/');
  await interrupted(['pull', name], env, isLayer, { kind: 'slow', delayMs: 3000 });
  const files = filesBelow(env.TSBUILD_ROOT);
  for (const path of files.filter((each) => /\/sha256\/[0-9a-f]{64}$/.test(each)))
    assert.ok(path.endsWith(await sha256(path)), `${path} is not what its name says`);
  assert.equal(space.ok(['images', '-q'], { env }).stdout, '');
  const pulled = await ended(space.start(['pull', name], env));
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.equal(space.ok(['run', name], { env }).stdout, 'pushed\n');
  assert.deepEqual(strict.violations, []);
});

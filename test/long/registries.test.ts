/** The real docker-registry behind tokens, TLS, client certificates and as a mirror; skopeo as the second client. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { digestOf } from '../../src/base/digest.ts';
import { createAuthority, type Authority } from '../registry/certificates.ts';
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
let authority: Authority;
before(async () => {
  space = openWorkspace();
  importBusybox(space);
  registry = await startRegistry(space.directory);
  mkdirSync(join(space.directory, 'ca'));
  authority = createAuthority(join(space.directory, 'ca'));
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

const DOCKERFILE = 'FROM bb:1\nRUN echo pushed > /f\nCMD ["cat", "/f"]\n';

function run(...args: readonly string[]): Promise<Ended> {
  return runWith({}, ...args);
}

/** Without blocking this process, which serves tokens. */
function runWith(env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = space.start(args, env);
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** By skopeo, without blocking this process. */
async function digestAt(name: string, ...more: readonly string[]): Promise<string> {
  const args = ['inspect', '--raw', '--tls-verify=false', ...more, `docker://${name}`];
  const { stdout } = await promisify(execFile)('skopeo', args, { encoding: 'buffer' });
  return digestOf(stdout);
}

test('C13: tokens of a real server: push, mount across repositories, permission refused before the build', async () => {
  const pair = { key: join(space.directory, 'token.key'), cert: join(space.directory, 'token.pem') };
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=tokens',
      '-keyout',
      pair.key,
      '-out',
      pair.cert,
    ],
    { stdio: 'pipe' },
  );
  await using tokens = await startTokenServer({
    ...pair,
    service: 'test',
    issuer: 'tests',
    users: { ann: 'se:cret' },
    allow: (user, repository) => user === 'ann' && !repository.startsWith('forbidden/'),
  });
  await using guarded = await startRegistry(
    space.directory,
    `auth: { token: { realm: "${tokens.realm}", service: test, issuer: tests, rootcertbundle: ${pair.cert} } }\n`,
  );
  const config = join(space.directory, 'guarded-docker');
  mkdirSync(config);
  writeFileSync(
    join(config, 'config.json'),
    JSON.stringify({ auths: { [guarded.host]: { username: 'ann', password: 'se:cret' } } }),
  );
  const env = { DOCKER_CONFIG: config, TSBUILD_TRACE: 'http' };
  const context = space.context('tokens', { Dockerfile: DOCKERFILE });
  const digestFile = join(space.directory, 'digest');
  const built = await runWith(
    env,
    '-t',
    `${guarded.host}/ann/a:1`,
    '-t',
    `${guarded.host}/ann/b:1`,
    '-t',
    `${guarded.host}/ann/b:2`,
    '--push',
    '--digest-file',
    digestFile,
    '--progress',
    'plain',
    context,
  );
  assert.equal(built.code, 0, built.stderr);
  assert.match(built.stderr, /http < 201 .*mount=/);
  // C22: nothing of a password or a token is shown.
  assert.doesNotMatch(built.stderr, /se:cret|c2U6Y3JldA|Bearer ey|_state=(?!\*)/);
  assert.equal(
    readFileSync(digestFile, 'utf8'),
    await digestAt(`${guarded.host}/ann/b:2`, '--creds', 'ann:se:cret'),
  );
  const refused = await runWith(
    { DOCKER_CONFIG: config },
    '-t',
    `${guarded.host}/forbidden/x:1`,
    '--push',
    '--progress',
    'plain',
    '--no-cache',
    context,
  );
  assert.equal(refused.code, 10);
  assert.match(refused.stderr, /cannot push to .*asking for permission to push of "forbidden\/x"/);
  assert.doesNotMatch(refused.stderr, /executing/);
  const checked = await runWith({ DOCKER_CONFIG: config }, 'login', '--check', guarded.host);
  assert.match(checked.stdout, /takes the credentials of .*config\.json/);
  const anonymous = await runWith(
    { DOCKER_CONFIG: join(space.directory, 'nowhere') },
    'pull',
    `${guarded.host}/ann/a:1`,
  );
  assert.equal(anonymous.code, 10);
  assert.match(anonymous.stderr, /tsbuild login/);
});

test('C15: TLS with an authority of our own, and client certificates, by the files that docker has', async () => {
  const server = authority.issue('registry', 'subjectAltName=IP:127.0.0.1');
  const client = authority.issue('client', 'extendedKeyUsage=clientAuth');
  const name = `${registry.host}/tls/app:1`;
  space.ok(['-q', '-t', name, '--push', space.context('tls', { Dockerfile: DOCKERFILE })]);
  await using guarded = await startRegistry(space.directory, '', {
    ...server,
    clientAuthority: authority.ca,
  });
  const target = `${guarded.host}/tls/app:1`;
  const files = (...with_: readonly string[]): NodeJS.ProcessEnv => {
    const home = join(space.directory, `home-${with_.length}`);
    const directory = join(home, 'containers/certs.d', guarded.host);
    mkdirSync(directory, { recursive: true });
    for (const file of with_)
      writeFileSync(
        join(directory, file),
        readFileSync(file === 'ca.crt' ? authority.ca : file === 'client.cert' ? client.cert : client.key),
      );
    return { XDG_CONFIG_HOME: home };
  };
  const untrusted = await runWith(files(), 'copy', name, target);
  assert.equal(untrusted.code, 12);
  assert.match(untrusted.stderr, /authority that is not trusted here[\s\S]*--registry-ca/);
  const unknown = await runWith(files('ca.crt'), 'copy', name, target);
  assert.equal(unknown.code, 12, unknown.stderr);
  assert.match(unknown.stderr, /client certificate/);
  const good = await runWith(
    files('ca.crt', 'client.cert', 'client.key'),
    'copy',
    '--progress',
    'plain',
    name,
    target,
  );
  assert.equal(good.code, 0, good.stderr);
});

test('C16: a pull-through mirror serves what the registry has, and is not pushed to', async () => {
  await using mirror = await startRegistry(
    space.directory,
    `proxy: { remoteurl: "http://${registry.host}" }\n`,
  );
  const name = `${registry.host}/mirrored/app:1`;
  space.ok(['-q', '-t', name, '--push', space.context('mirrored', { Dockerfile: DOCKERFILE })]);
  const root = { TSBUILD_ROOT: join(space.directory, 'mirror-root'), TSBUILD_TRACE: 'http' };
  const pulled = await runWith(
    root,
    'pull',
    '--registry-mirror',
    `${registry.host}=http://${mirror.host}`,
    '--no-registry-fallback',
    name,
  );
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.doesNotMatch(pulled.stderr, new RegExp(`> \\w+ http://${registry.host}`));
  const pushed = await runWith(
    root,
    'push',
    '--registry-mirror',
    `${registry.host}=http://${mirror.host}`,
    name,
  );
  assert.equal(pushed.code, 0, pushed.stderr);
  assert.doesNotMatch(pushed.stderr, new RegExp(`> \\w+ http://${mirror.host}`));
  const refused = await runWith(root, 'copy', name, `${mirror.host}/mirrored/app:2`);
  assert.equal(refused.code, 14, refused.stderr);
  assert.match(refused.stderr, /405.*UNSUPPORTED[\s\S]*mirror/);
});

test('C9 C25: registry, layout, docker archive and registry again, with skopeo: digests agree', async () => {
  const name = `${registry.host}/round/app:1`;
  space.ok(['-q', '-t', name, '--push', space.context('round', { Dockerfile: DOCKERFILE })]);
  const digest = await digestAt(name);
  const layout = join(space.directory, 'round-layout');
  assert.equal((await run('copy', name, `oci:${layout}:1`)).stdout.trim(), digest);
  const theirs = join(space.directory, 'round-theirs');
  execFileSync('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${theirs}:1`]);
  assert.ok(existsSync(join(theirs, 'blobs/sha256', digest.slice(7))));
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--dest-tls-verify=false',
    `oci:${layout}:1`,
    `docker://${registry.host}/round/skopeo:1`,
  ]);
  assert.equal(await digestAt(`${registry.host}/round/skopeo:1`), digest);
  assert.equal((await run('copy', `oci:${theirs}:1`, `${registry.host}/round/back:1`)).stdout.trim(), digest);
  assert.equal(await digestAt(`${registry.host}/round/back:1`), digest);
  const archive = join(space.directory, 'round.tar');
  assert.equal((await run('copy', name, `oci-archive:${archive}:1`)).code, 0);
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--dest-tls-verify=false',
    `oci-archive:${archive}:1`,
    `docker://${registry.host}/round/archive:1`,
  ]);
  assert.equal(await digestAt(`${registry.host}/round/archive:1`), digest);
  execFileSync('umoci', ['unpack', '--image', `${layout}:1`, join(space.directory, 'round-unpacked')], {
    stdio: 'pipe',
  });
  const docker = join(space.directory, 'round-docker.tar');
  assert.equal((await run('copy', name, `docker-archive:${docker}:x:1`)).code, 0);
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--dest-tls-verify=false',
    `docker-archive:${docker}:docker.io/library/x:1`,
    `docker://${registry.host}/round/docker:1`,
  ]);
  const loaded = await run('copy', `docker-archive:${docker}`, `${registry.host}/round/loaded:1`);
  assert.equal(loaded.code, 0, loaded.stderr);
  const pulled = { env: { TSBUILD_ROOT: join(space.directory, 'round-root') } };
  for (const each of ['docker', 'loaded', 'skopeo'])
    assert.equal(space.ok(['run', `${registry.host}/round/${each}:1`], pulled).stdout, 'pushed\n', each);
  // What was pulled goes elsewhere with the manifest that it came with.
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'round-root-2') } };
  space.ok(['pull', name], other);
  space.ok(['tag', name, `${registry.host}/round/again:1`], other);
  space.ok(['push', `${registry.host}/round/again:1`], other);
  assert.equal(await digestAt(`${registry.host}/round/again:1`), digest);
});

test('C24: --format docker gives docker documents alone, and back', async () => {
  const name = `${registry.host}/format/app:1`;
  space.ok([
    '-q',
    '-t',
    name,
    '--push',
    '--format',
    'docker',
    space.context('format', { Dockerfile: DOCKERFILE }),
  ]);
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`], {
    encoding: 'utf8',
  });
  assert.doesNotMatch(raw, /vnd\.oci/);
  assert.match(raw, /vnd\.docker\.distribution\.manifest\.v2\+json/);
  const oci = await run('copy', '--format', 'oci', name, `${registry.host}/format/oci:1`);
  assert.equal(oci.code, 0, oci.stderr);
  assert.doesNotMatch(
    execFileSync(
      'skopeo',
      ['inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/format/oci:1`],
      { encoding: 'utf8' },
    ),
    /vnd\.docker/,
  );
});

test('C24: layers by zstd are read, and travel on as OCI', async () => {
  const name = `${registry.host}/zstd/app`;
  // A registry of its own: skopeo would find the gzip blobs again.
  await using fresh = await startRegistry(space.directory);
  const zstd = `${fresh.host}/zstd/app:1`;
  space.ok(['-q', '-t', `${name}:gzip`, '--push', space.context('zstd', { Dockerfile: DOCKERFILE })]);
  const layout = join(space.directory, 'zstd-layout');
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--src-tls-verify=false',
    '--dest-decompress',
    `docker://${name}:gzip`,
    `dir:${layout}`,
  ]);
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--dest-tls-verify=false',
    '--dest-compress',
    '--dest-compress-format',
    'zstd',
    '-f',
    'oci',
    `dir:${layout}`,
    `docker://${zstd}`,
  ]);
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${zstd}`], {
    encoding: 'utf8',
  });
  assert.match(raw, /tar\+zstd/);
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'zstd-root') } };
  assert.equal(space.ok(['run', zstd], other).stdout, 'pushed\n');
  const refused = await run('copy', '--format', 'docker', zstd, `${name}:docker`);
  assert.match(refused.stderr, /docker images cannot hold .*zstd/);
});

test('C8: images of several machines, pushed by digest, are joined and inspected; attestations are no platform', async () => {
  const repository = `${registry.host}/matrix/app`;
  const digests: string[] = [];
  for (const arch of ['amd64', 'arm64']) {
    const file = join(space.directory, `digest-${arch}`);
    space.ok([
      '-q',
      '--platform',
      `linux/${arch}`,
      '-o',
      `type=image,name=${repository},push=true,push-by-digest=true`,
      '--digest-file',
      file,
      space.context(`matrix-${arch}`, { Dockerfile: `FROM scratch\nCOPY f /${arch}\n`, f: arch }),
    ]);
    digests.push(readFileSync(file, 'utf8'));
  }
  assert.deepEqual((await run('tags', repository)).stdout, '');
  const created = await run(
    'manifest',
    'create',
    `${repository}:all`,
    ...digests.map((digest) => `${repository}@${digest}`),
  );
  assert.equal(created.code, 0, created.stderr);
  const elsewhere = `${registry.host}/matrix/elsewhere:all`;
  const pushed = await run('manifest', 'push', `${repository}:all`, `${repository}:all`, elsewhere);
  assert.equal(pushed.code, 0, pushed.stderr);
  assert.equal(await digestAt(`${repository}:all`), created.stdout.trim());
  assert.equal(await digestAt(elsewhere), created.stdout.trim());
  const index = JSON.parse((await run('manifest', 'inspect', elsewhere)).stdout) as {
    manifests: { platform: object }[];
  };
  assert.deepEqual(
    index.manifests.map(({ platform }) => platform),
    [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
    ],
  );
  assert.deepEqual((await run('tags', '--format', 'json', repository)).stdout, '["all"]\n');
  const copied = await run(
    'copy',
    '--platform',
    'linux/arm64',
    `${repository}:all`,
    `${registry.host}/matrix/one:1`,
  );
  assert.equal(copied.stdout.trim(), digests[1]);
});

test('C18: files are attached to an image and listed, by the tag where there is no API', async () => {
  const name = `${registry.host}/attach/app:1`;
  space.ok(['-q', '-t', name, '--push', space.context('attach', { Dockerfile: DOCKERFILE })]);
  writeFileSync(join(space.directory, 'sbom.json'), '{"spdxVersion":"SPDX-2.3"}');
  const attached = await run(
    'artifact',
    'attach',
    '--artifact-type',
    'application/spdx+json',
    name,
    'sbom.json:application/spdx+json',
  );
  assert.equal(attached.code, 0, attached.stderr);
  const listed = await run('artifact', 'ls', name);
  assert.equal(
    listed.stdout,
    `${registry.host}/attach/app@${attached.stdout.trim()} application/spdx+json\n`,
  );
  assert.equal((await run('artifact', 'ls', '--artifact-type', 'application/other', name)).stdout, '');
});

test('C13: the classes of failure have exit codes of their own', async () => {
  assert.equal((await run('pull', `${registry.host}/no/such:1`)).code, 11);
  assert.equal((await run('pull', '--retry', '1', '127.0.0.1:1/a:1')).code, 12);
  assert.equal((await run('pull', 'NOT/valid:::')).code, 1);
  assert.equal((await run('pull')).code, 2);
});

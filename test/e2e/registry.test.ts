import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpsProxy } from 'node:https';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readTextIfExists } from '../../src/base/atomic-file.ts';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type RunningRegistry,
  type Workspace,
} from './fixture.ts';

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

test('a pushed image is inspected, copied and unpacked by skopeo and umoci', () => {
  const context = space.context('push', { Dockerfile: DOCKERFILE });
  const name = `${registry.host}/team/app:1`;
  const { stderr } = space.ok(['-t', name, '--push', '--progress', 'plain', context]);
  assert.match(stderr, /pushing/);
  const inspected = JSON.parse(
    execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${name}`], { encoding: 'utf8' }),
  ) as { Layers: string[] };
  assert.equal(inspected.Layers.length, 2);
  const layout = join(space.directory, 'copied');
  execFileSync('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${layout}:1`]);
  execFileSync('umoci', ['unpack', '--image', `${layout}:1`, join(space.directory, 'unpacked')], {
    stdio: 'pipe',
  });
  assert.equal(readFileSync(join(space.directory, 'unpacked/rootfs/f'), 'utf8'), 'pushed\n');
});

test('an image pushed by skopeo is pulled, used as base and run', () => {
  const layout = join(space.directory, 'by-skopeo');
  space.ok([
    '-q',
    '-o',
    `type=oci,dest=${layout}`,
    '-t',
    'x:1',
    space.context('sk', { Dockerfile: DOCKERFILE }),
  ]);
  const name = `${registry.host}/by/skopeo:2`;
  execFileSync('skopeo', ['copy', '-q', '--dest-tls-verify=false', `oci:${layout}:1`, `docker://${name}`]);
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'pull-root') } };
  assert.equal(space.ok(['run', name], other).stdout, 'pushed\n');
  const context = space.context('from', { Dockerfile: `FROM ${name}\nRUN cat /f > /g\nCMD ["cat", "/g"]\n` });
  space.ok(['-q', '-t', 'derived', context], other);
  assert.equal(space.ok(['run', 'derived'], other).stdout, 'pushed\n');
});

test('a base that was pulled travels on as the bytes that it was', () => {
  const name = `${registry.host}/team/app:1`;
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'again-root') } };
  const context = space.context('again', { Dockerfile: `FROM ${name}\nRUN echo more > /more\n` });
  space.ok(['-t', `${registry.host}/team/derived:1`, '--push', '-q', context], other);
  const layers = (image: string): string[] =>
    (
      JSON.parse(
        execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${image}`], { encoding: 'utf8' }),
      ) as { Layers: string[] }
    ).Layers;
  assert.deepEqual(layers(`${registry.host}/team/derived:1`).slice(0, 2), layers(name));
});

test('a base that was pulled and looked into travels on as it was, whatever form is asked for', () => {
  const name = `${registry.host}/team/app:1`;
  const root = join(space.directory, 'plain-root');
  const other = { env: { TSBUILD_ROOT: root } };
  const context = space.context('plain', { Dockerfile: `FROM ${name}\nRUN echo plain > /plain\n` });
  const derived = `${registry.host}/team/plain:1`;
  space.ok(['-t', derived, '--push', '--compression', 'uncompressed', '-q', context], other);
  const layersOf = (image: string): readonly { readonly digest: string; readonly mediaType: string }[] =>
    (
      JSON.parse(
        execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${image}`], {
          encoding: 'utf8',
        }),
      ) as { readonly layers: readonly { readonly digest: string; readonly mediaType: string }[] }
    ).layers;
  const [layers, base] = [layersOf(derived), layersOf(name)];
  assert.deepEqual(
    layers.slice(0, base.length).map(({ digest }) => digest),
    base.map(({ digest }) => digest),
  );
  assert.match(layers.at(-1)?.mediaType ?? '', /\.tar$/);
});

test('more layers on their way than Node has listeners for are no leak', () => {
  const steps = Array.from({ length: 13 }, (_, n) => `RUN echo ${n} > /f${n}\n`).join('');
  const context = space.context('many', { Dockerfile: `FROM bb:1\n${steps}` });
  const { stderr } = space.ok([
    '-q',
    '-t',
    `${registry.host}/team/many:1`,
    '--push',
    '--network',
    'none',
    context,
  ]);
  assert.doesNotMatch(stderr, /MaxListeners|memory leak/);
});

test('what a registry does not have is an error that names host and repository', () => {
  const { code, stderr } = space.tsbuild([
    '--progress',
    'plain',
    space.context('none', { Dockerfile: `FROM ${registry.host}/no/such:1\n` }),
  ]);
  assert.equal(code, 11);
  assert.match(
    stderr,
    new RegExp(
      `cannot pull from ${registry.host}: .*"no/such" failed with status 404.*\\[REGISTRY_NOT_FOUND\\]`,
    ),
  );
  assert.match(stderr, /Dockerfile:1:6/);
});

test('basic authentication: refused without, logged in with, kept 0600, forgotten by logout', async () => {
  const htpasswd = join(space.directory, 'htpasswd');
  writeFileSync(htpasswd, execFileSync('htpasswd', ['-nbB', 'ann', 'se:cret'], { encoding: 'utf8' }));
  await using guarded = await startRegistry(
    space.directory,
    `auth: { htpasswd: { realm: test, path: ${htpasswd} } }\n`,
  );
  const name = `${guarded.host}/private/app:1`;
  const context = space.context('guarded', { Dockerfile: DOCKERFILE });
  const refused = space.tsbuild(['-t', name, '--push', '--progress', 'plain', context]);
  assert.equal(refused.code, 10);
  assert.match(refused.stderr, /\[REGISTRY_AUTH\]/);
  assert.match(refused.stderr, new RegExp(`log in with "tsbuild login ${guarded.host}"`));
  assert.equal(
    space.tsbuild(['login', '-u', 'ann', '--password-stdin', guarded.host], { input: 'wrong\n' }).code,
    10,
  );
  assert.match(
    space.tsbuild(['login', '-u', 'ann', '--password-stdin', guarded.host], { input: 'se:cret\n' }).stdout,
    /Login Succeeded/,
  );
  const config = join(space.directory, 'docker/config.json');
  assert.equal(statSync(config).mode & 0o777, 0o600);
  space.ok(['-t', name, '--push', '-q', context]);
  assert.match(
    execFileSync('skopeo', ['inspect', '--tls-verify=false', '--creds', 'ann:se:cret', `docker://${name}`], {
      encoding: 'utf8',
    }),
    /private\/app/,
  );
  space.ok(['logout', guarded.host]);
  assert.doesNotMatch(readFileSync(config, 'utf8'), new RegExp(guarded.host));
  assert.equal(space.tsbuild(['push', name]).code, 10);
});

test('a registry behind a private authority is reached with its certificate alone', async () => {
  const directory = join(space.directory, 'tls');
  mkdirSync(directory);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
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
      '/CN=registry',
      '-addext',
      'subjectAltName=IP:127.0.0.2',
      '-keyout',
      key,
      '-out',
      cert,
    ],
    { stdio: 'pipe' },
  );
  const [host, port] = registry.host.split(':');
  const proxy = createHttpsProxy(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (incoming, outgoing) => {
      const forwarded = request(
        { host, port, path: incoming.url, method: incoming.method, headers: incoming.headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        },
      );
      incoming.pipe(forwarded);
    },
  );
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.2', resolve));
  const name = `127.0.0.2:${(proxy.address() as AddressInfo).port}/team/app:1`;
  try {
    const run = (...args: readonly string[]): Promise<{ code: number | null; stderr: string }> =>
      new Promise((resolve) => {
        // why: the proxy lives in this process, so the command must not block it.
        const child = space.start(args);
        let stderr = '';
        child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
        child.once('close', (code) => resolve({ code, stderr }));
      });
    const refused = await run('pull', '--progress', 'plain', name);
    assert.equal(refused.code, 12);
    assert.match(refused.stderr, /certificate[\s\S]*--registry-ca/);
    const authority = name.split('/')[0] ?? '';
    assert.equal((await run('pull', '--registry-ca', `${authority}=${cert}`, name)).code, 0);
    assert.equal((await run('pull', '--insecure-registry', authority, name)).code, 0);
  } finally {
    proxy.close();
    proxy.closeAllConnections();
  }
});

test('a manifest list gives the image of the platform', () => {
  const name = `${registry.host}/multi/app`;
  for (const arch of ['amd64', 'arm64'])
    space.ok([
      '-q',
      '--platform',
      `linux/${arch}`,
      '-t',
      `${name}:${arch}`,
      '--push',
      space.context(`multi-${arch}`, { Dockerfile: `FROM scratch\nCOPY f /${arch}\n`, f: arch }),
    ]);
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: ['arm64', 'amd64'].map((architecture) => {
      const raw = execFileSync('skopeo', [
        'inspect',
        '--raw',
        '--tls-verify=false',
        `docker://${name}:${architecture}`,
      ]);
      const digest = execFileSync('sha256sum', { input: raw, encoding: 'utf8' }).slice(0, 64);
      return {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: `sha256:${digest}`,
        size: raw.byteLength,
        platform: { os: 'linux', architecture },
      };
    }),
  };
  execFileSync('curl', [
    '-sf',
    '-X',
    'PUT',
    '-H',
    `Content-Type: ${index.mediaType}`,
    '-d',
    JSON.stringify(index),
    `http://${registry.host}/v2/multi/app/manifests/all`,
  ]);
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'multi-root') } };
  const architecture = (): string =>
    (JSON.parse(space.ok(['inspect', `${name}:all`], other).stdout) as { Architecture: string }[])[0]
      ?.Architecture ?? '';
  space.ok(['pull', `${name}:all`], other);
  assert.equal(architecture(), 'amd64');
  space.ok(['pull', '--platform', 'linux/arm64', `${name}:all`], other);
  assert.equal(architecture(), 'arm64');
  assert.match(
    space.tsbuild(['pull', '--platform', 'linux/s390x', `${name}:all`], other).stderr,
    /no image for linux\/s390x; there is linux\/arm64, linux\/amd64 \[PLATFORM_NOT_FOUND\]/,
  );
});

/** Jobs of the native tree program that a process runs now. */
function treeJobs(parent: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const ppid = /\) \S (\d+) /.exec(readTextIfExists(`/proc/${pid}/stat`) ?? '')?.[1];
      if (Number(ppid) !== parent) return [];
      const [program, job] = (readTextIfExists(`/proc/${pid}/cmdline`) ?? '').split('\0');
      return program === 'tsbuild-tree' && job !== undefined ? [job] : [];
    });
}

test('a layer that is pushed is compressed while it is packed', async () => {
  const context = space.context('early', {
    Dockerfile: 'FROM scratch\nCOPY Dockerfile /\nCOPY large /large\n',
  });
  const large = Buffer.alloc(256 << 20);
  for (let at = 0; at < large.byteLength; at += 4096) large.write(`page ${(at * 7919) % 100_003}\n`, at);
  writeFileSync(join(context, 'large'), large);
  const name = `${registry.host}/team/early:1`;
  const child = space.start(['-t', name, '--push', '-q', context]);
  const ended = once(child, 'exit');
  let isOver = false;
  void ended.then(() => (isOver = true));
  let wereTogether = false;
  while (!isOver) {
    const jobs = treeJobs(child.pid ?? 0);
    wereTogether ||= jobs.includes('pack') && jobs.includes('compress');
    await sleep(2);
  }
  assert.deepEqual(await ended, [0, null]);
  assert.ok(wereTogether);
  // The bytes are those of a layer that was compressed afterwards.
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'late-root') } };
  space.ok(['-t', `${registry.host}/team/late:1`, '-q', context], other);
  space.ok(['push', '-q', `${registry.host}/team/late:1`], other);
  const layers = (image: string): string =>
    execFileSync(
      'skopeo',
      [
        'inspect',
        '--tls-verify=false',
        '--format',
        '{{.Layers}}',
        `docker://${registry.host}/team/${image}:1`,
      ],
      { encoding: 'utf8' },
    );
  assert.equal(layers('early'), layers('late'));
  const laid = join(space.directory, 'early-layout');
  execFileSync('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${laid}:1`]);
  execFileSync('umoci', ['unpack', '--image', `${laid}:1`, join(space.directory, 'early')], {
    stdio: 'pipe',
  });
  assert.ok(readFileSync(join(space.directory, 'early/rootfs/large')).equals(large));
});

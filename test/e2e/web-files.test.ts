/** ADD of files of the web: private authorities and proxies, as registries have them. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
});
after(() => space[Symbol.dispose]());

async function listen(server: Server, address: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return `${address}:${(server.address() as AddressInfo).port}`;
}

/** A certificate for 127.0.0.2 that nobody knows. */
function makeCertificate(): { readonly key: string; readonly cert: string } {
  const directory = join(space.directory, 'tls');
  mkdirSync(directory);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const words =
    'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=files -addext subjectAltName=IP:127.0.0.2';
  execFileSync('openssl', [...words.split(' '), '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return { key, cert };
}

/** why not spawnSync: the server lives in this process. By the program's own name, or by node. */
function build(context: string, out: string, env: NodeJS.ProcessEnv, byName: boolean): Promise<string> {
  const args = ['--progress', 'plain', '-o', join(space.directory, out), context];
  const [command, ...before] = byName ? [CLI] : [process.execPath, CLI];
  const child = spawn(command, [...before, ...args], {
    env: { ...space.env, ...env },
    cwd: space.directory,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (data: Buffer) => (said += data.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve(`${said}ended with ${code}`)));
}

test('a file behind a private authority is fetched with its certificate alone, whoever starts the program', async () => {
  const { key, cert } = makeCertificate();
  const server = createHttpsServer(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (_request, response) => response.end('private'),
  );
  const host = await listen(server, '127.0.0.2');
  const context = space.context('private', { Dockerfile: `FROM scratch\nADD https://${host}/f /\n` });
  try {
    for (const byName of [false, true])
      assert.match(
        await build(context, 'none', { SSL_CERT_FILE: undefined }, byName),
        /self-signed certificate[\s\S]*Dockerfile:2[\s\S]*SSL_CERT_FILE[\s\S]*ended with 1/,
      );
    const ways: readonly (readonly [string, boolean])[] = [
      ['SSL_CERT_FILE', false],
      ['NODE_EXTRA_CA_CERTS', false],
      ['NODE_EXTRA_CA_CERTS', true],
    ];
    for (const [variable, byName] of ways) {
      const out = `${variable}-${byName}`;
      assert.match(await build(context, out, { [variable]: cert }, byName), /ended with 0/);
      assert.equal(readFileSync(join(space.directory, out, 'f'), 'utf8'), 'private');
    }
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('the variable that Node does not see at its start is there for what the program starts', async () => {
  const server = createServer((_request, response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end(),
  );
  const host = await listen(server, '127.0.0.1');
  const bin = join(space.directory, 'bin');
  mkdirSync(bin);
  const helper = join(bin, 'docker-credential-seer');
  writeFileSync(helper, `#!/bin/sh\nenv > ${bin}/seen\nexit 1\n`, { mode: 0o755 });
  const docker = join(space.directory, 'docker');
  mkdirSync(docker, { recursive: true });
  writeFileSync(join(docker, 'config.json'), '{"credsStore":"seer"}');
  const env = {
    ...space.env,
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    NODE_EXTRA_CA_CERTS: '/nowhere/ca.pem',
  };
  const child = spawn(CLI, ['pull', `${host}/team/app`], { env, stdio: 'ignore' });
  try {
    await new Promise((resolve) => child.once('close', resolve));
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(docker, { recursive: true });
  }
  const seen = readFileSync(join(bin, 'seen'), 'utf8');
  assert.match(seen, /^NODE_EXTRA_CA_CERTS=\/nowhere\/ca\.pem$/m);
  assert.doesNotMatch(seen, /TSBUILD_START/);
});

test('variables with names that no shell has reach the program that is started by its own name', () => {
  const context = space.context('names', { Dockerfile: 'FROM scratch\n' });
  writeFileSync(
    join(context, 'print.cjs'),
    "const e = process.env; console.log(`npm-token=${e['npm-token']} a.b=${e['a.b']} extra=${e.NODE_EXTRA_CA_CERTS} kept=${e.TSBUILD_START_CA_CERTS}`)",
  );
  const env = { ...space.env, 'npm-token': 't', 'a.b': 'c', NODE_EXTRA_CA_CERTS: undefined };
  const printed = execFileSync(CLI, ['--version'], {
    env: { ...env, NODE_OPTIONS: `-r ${context}/print.cjs` },
  });
  assert.match(printed.toString(), /^npm-token=t a\.b=c extra=undefined kept=\n/);
});

test('a file is fetched through the proxy that the environment names', async () => {
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end('by way of the proxy');
  });
  const host = await listen(proxy, '127.0.0.1');
  const context = space.context('proxied', { Dockerfile: 'FROM scratch\nADD http://files.invalid/f /\n' });
  try {
    assert.match(await build(context, 'proxied', { HTTP_PROXY: `http://${host}` }, false), /ended with 0/);
    assert.equal(readFileSync(join(space.directory, 'proxied/f'), 'utf8'), 'by way of the proxy');
    assert.deepEqual(asked, ['http://files.invalid/f']);
    const around = { HTTP_PROXY: `http://${host}`, NO_PROXY: 'files.invalid' };
    assert.match(await build(context, 'around', around, false), /files\.invalid[\s\S]*ended with 1/);
  } finally {
    proxy.close();
    proxy.closeAllConnections();
  }
});

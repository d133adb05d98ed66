/** TLS, proxies, and the files that say how registries are reached. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isInRange, isLocalHost, isProxyException, mayBePlain } from '../../src/registry/address.ts';
import { readRules } from '../../src/registry/configuration/read-rules.ts';
import { endpointsFor } from '../../src/registry/endpoints.ts';
import { resolveLocation, withParameter } from '../../src/registry/location.ts';
import { parseMirrorFlag, type RegistryRule } from '../../src/registry/rules.ts';
import { plainSettings, type RegistrySettings } from '../../src/registry/settings.ts';
import { createAuthority, readPair } from '../registry/certificates.ts';
import { openBench, reference, rejects, signal, type Bench } from '../registry/fixture.ts';
import { startTestRegistry, type TestRegistry, type TestRegistryOptions } from '../registry/test-registry.ts';

let bench: Bench;
const started: AsyncDisposable[] = [];
beforeEach(() => {
  bench = openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  for (const each of started.splice(0)) await each[Symbol.asyncDispose]();
});

async function start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startTestRegistry(options);
  started.push(registry);
  return registry;
}

async function check(host: string, settings: Partial<RegistrySettings> = {}): Promise<void> {
  await bench.client(settings).sink(reference(host)).checkPush({ signal });
}

test('C15: an authority by flag, by directory, by the system, by configuration', async () => {
  const authority = createAuthority(bench.directory);
  const pair = authority.issue('server', 'subjectAltName=IP:127.0.0.1');
  const { host } = await start({ tls: readPair(pair) });
  const error = await rejects(
    check(host),
    'REGISTRY_UNREACHABLE',
    /signed by an authority that is not trusted/,
  );
  assert.match(error.hint ?? '', new RegExp(`--registry-ca ${host}=FILE`));
  await check(host, { authorities: new Map([[host, [authority.ca]]]) });
  await check(host, { systemAuthorities: [join(bench.directory, 'none'), authority.ca] });
  await check(host, { insecure: [host] });
  await check(host, { insecure: ['127.0.0.0/8'] });
  const directory = join(bench.directory, 'certs.d');
  mkdirSync(join(directory, host), { recursive: true });
  copyFileSync(authority.ca, join(directory, host, 'ca.crt'));
  await check(host, { certificateDirectories: [join(bench.directory, 'other'), directory] });
  await check(host, {
    rules: () => Promise.resolve([{ origin: 'x', prefix: host, mirrors: [], authorities: [authority.ca] }]),
  });
});

test('C15: a client certificate, by flag and by directory; half a pair is named', async () => {
  const authority = createAuthority(bench.directory);
  const server = authority.issue('server', 'subjectAltName=IP:127.0.0.1');
  const client = authority.issue('client', 'extendedKeyUsage=clientAuth');
  const { host } = await start({
    tls: { ...readPair(server), ca: readFileSync(authority.ca), requestCert: true, rejectUnauthorized: true },
  });
  const authorities = new Map([[host, [authority.ca]]]);
  const error = await rejects(check(host, { authorities }), 'REGISTRY_UNREACHABLE');
  assert.match(`${error.message} ${error.hint}`, /client certificate/);
  await check(host, { authorities, clientCertificates: new Map([[host, client]]) });
  const directory = join(bench.directory, 'certs.d');
  mkdirSync(join(directory, host), { recursive: true });
  copyFileSync(authority.ca, join(directory, host, 'ca.crt'));
  copyFileSync(client.cert, join(directory, host, 'client.cert'));
  await rejects(
    check(host, { certificateDirectories: [directory] }),
    'CONFIG_INVALID',
    /client\.cert" lacks "client\.key"/,
  );
  copyFileSync(client.key, join(directory, host, 'client.key'));
  await check(host, { certificateDirectories: [directory] });
});

test('C15: a wrong name is said with the names of the certificate', async () => {
  const authority = createAuthority(bench.directory);
  const pair = authority.issue('server', 'subjectAltName=DNS:r.example');
  const { host } = await start({ tls: readPair(pair) });
  const error = await rejects(
    check(host, { systemAuthorities: [authority.ca] }),
    'REGISTRY_UNREACHABLE',
    /its certificate is for other names \(DNS:r\.example\)/,
  );
  assert.match(error.hint ?? '', /use a name that the certificate holds/);
});

test('C15: an expired certificate is said to be that, at once and with what helps', async () => {
  const authority = createAuthority(bench.directory);
  const { host, log } = await start({
    tls: readPair(authority.issue('server', 'subjectAltName=IP:127.0.0.1', -1)),
  });
  const error = await rejects(
    check(host, { systemAuthorities: [authority.ca] }),
    'REGISTRY_UNREACHABLE',
    /its certificate has expired/,
  );
  assert.match(error.hint ?? '', /renew the certificate of the registry, or check the clock/);
  assert.deepEqual(log, []);
});

test('C15: plain HTTP where TLS was expected, and TLS where plain was', async () => {
  const plain = await start({ host: '127.0.0.1' });
  await check(plain.host);
  const error = await rejects(
    check(plain.host, {
      rules: () =>
        Promise.resolve([
          {
            origin: 'x',
            prefix: plain.host,
            mirrors: [],
            location: {
              authority: plain.host,
              path: '',
              scheme: 'https',
              pulls: 'all',
              sendsNamespace: false,
            },
          },
        ]),
    }),
    'REGISTRY_UNREACHABLE',
    /does not speak TLS/,
  );
  assert.match(error.hint ?? '', /--insecure-registry/);
});

test('C15: nobody falls back to plain HTTP unless it was allowed', () => {
  assert.ok(!mayBePlain('r.example:5000', []));
  assert.ok(mayBePlain('r.example:5000', ['r.example:5000']));
  assert.ok(mayBePlain('10.1.2.3:5000', ['10.0.0.0/8']));
  assert.ok(!mayBePlain('11.1.2.3:5000', ['10.0.0.0/8']));
  for (const host of ['localhost:5000', 'x.localhost', '127.9.9.9', '[::1]:5000'])
    assert.ok(mayBePlain(host, []), host);
  assert.ok(!mayBePlain('192.168.1.1:5000', []));
});

test('NO_PROXY: names, suffixes, addresses, ranges, ports, everything', () => {
  const direct = (url: string, exceptions: string): boolean => isProxyException(new URL(url), exceptions);
  assert.ok(direct('http://localhost:5000/', ''));
  assert.ok(direct('https://127.0.0.1/', ''));
  assert.ok(direct('https://a.b.example/', 'x, b.example'));
  assert.ok(direct('https://a.b.example/', '.b.example'));
  assert.ok(!direct('https://ab.example/', 'b.example'));
  assert.ok(direct('https://10.2.3.4/', '10.0.0.0/8'));
  assert.ok(!direct('https://11.2.3.4/', '10.0.0.0/8'));
  assert.ok(direct('https://r.example:8443/', 'r.example:8443'));
  assert.ok(!direct('https://r.example/', 'r.example:8443'));
  assert.ok(direct('https://r.example/', 'r.example:443'));
  assert.ok(direct('https://[fd00::1]/', 'fd00::/8'));
  assert.ok(direct('https://anything/', '*'));
  assert.ok(isInRange('10.0.0.1', '10.0.0.0/24'));
  assert.ok(!isInRange('host', '10.0.0.0/24'));
  assert.ok(
    isLocalHost('169.254.169.254') &&
      isLocalHost('fe80::1') &&
      !isLocalHost('8.8.8.8') &&
      !isLocalHost('r.example'),
  );
});

test('a proxy takes plain requests by their address and TLS by CONNECT, with its own password', async () => {
  const seen: string[] = [];
  const proxy = createServer((incoming, outgoing) => {
    seen.push(
      `${incoming.method ?? ''} ${new URL(incoming.url ?? '').host} ${String(incoming.headers['proxy-authorization'])}`,
    );
    const target = new URL(incoming.url ?? '');
    const forwarded = httpRequest(
      {
        host: '127.0.0.1',
        port: registryPort,
        path: `${target.pathname}${target.search}`,
        method: incoming.method,
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      },
    );
    incoming.pipe(forwarded);
  });
  proxy.on('connect', (incoming, socket, head) => {
    seen.push(`CONNECT ${incoming.url ?? ''} ${String(incoming.headers['proxy-authorization'])}`);
    const forwarded = connect(tlsPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      forwarded.write(head);
      forwarded.pipe(socket);
      socket.pipe(forwarded);
    });
    socket.on('error', () => forwarded.destroy());
    forwarded.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  started.push({
    async [Symbol.asyncDispose]() {
      proxy.close();
      proxy.closeAllConnections();
      await Promise.resolve();
    },
  });
  const plain = await start();
  const registryPort = Number(plain.host.split(':')[1]);
  const authority = createAuthority(bench.directory);
  const secure = await start({
    tls: readPair(authority.issue('server', 'subjectAltName=DNS:secure.example')),
  });
  const tlsPort = Number(secure.host.split(':')[1]);
  const address = `http://user:pa%20ss@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const settings = {
    proxy: { http: address, https: address, exceptions: 'direct.example' },
    systemAuthorities: [authority.ca],
  };
  const plainRule: RegistryRule = {
    origin: 'x',
    prefix: 'plain.example',
    mirrors: [],
    isInsecure: true,
    location: { authority: 'plain.example', path: '', scheme: 'http', pulls: 'all', sendsNamespace: false },
  };
  await check('plain.example', { ...settings, rules: () => Promise.resolve([plainRule]) });
  await check('secure.example', settings);
  const token = `Basic ${Buffer.from('user:pa ss').toString('base64')}`;
  assert.deepEqual(
    [...new Set(seen)],
    [`POST plain.example ${token}`, `DELETE plain.example ${token}`, `CONNECT secure.example:443 ${token}`],
  );
});

const asked = { side: 'push to', host: 'r.example', repository: 'a', action: 'x' } as const;

test('a Location keeps its bytes, and does not lead into private networks', () => {
  const base = 'https://r.example:5000/v2/a/blobs/uploads/';
  assert.equal(
    resolveLocation('/v2/u?_state=a%2Bb~(c)*', base, asked),
    'https://r.example:5000/v2/u?_state=a%2Bb~(c)*',
  );
  assert.equal(resolveLocation('u?x=1', base, asked), 'https://r.example:5000/v2/a/blobs/uploads/u?x=1');
  assert.equal(resolveLocation('https://s3.example/b?sig=%20', base, asked), 'https://s3.example/b?sig=%20');
  assert.equal(resolveLocation('http://r.example/v2/u', base, asked), 'https://r.example:5000/v2/u');
  assert.equal(resolveLocation('https://r.example/v2/u', base, asked), 'https://r.example:5000/v2/u');
  assert.equal(resolveLocation('http://r.example:9000/u', base, asked), 'http://r.example:9000/u');
  for (const bad of [
    'http://169.254.169.254/latest',
    'http://127.0.0.1/x',
    'http://[::1]/',
    'file:///etc/passwd',
  ])
    assert.throws(() => resolveLocation(bad, base, asked), { code: 'REGISTRY_PROTOCOL' });
  assert.equal(resolveLocation('http://10.0.0.2/x', 'http://10.0.0.1:5000/v2/', asked), 'http://10.0.0.2/x');
  assert.equal(withParameter('/u?a=%20', 'digest', 'sha256:ab'), '/u?a=%20&digest=sha256%3Aab');
});

async function rulesOf(files: Readonly<Record<string, string>>): Promise<readonly RegistryRule[]> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(bench.directory, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
  const at = (name: string): string => join(bench.directory, name);
  return readRules([], {
    own: [at('own.json')],
    registriesConf: [at('registries.conf')],
    hostsToml: [at('certs.d')],
    daemonJson: [at('daemon.json')],
  });
}

async function places(
  rules: readonly RegistryRule[],
  registry: string,
  repository: string,
  more: Partial<RegistrySettings> = {},
): Promise<readonly string[]> {
  const settings = { ...plainSettings(() => 0), rules: () => Promise.resolve(rules), ...more };
  const found = await endpointsFor({ registry, repository }, 'pull', settings);
  return found.map(
    ({ scheme = 'tls', authority, apiPath, repository: name, pulls, isUnverified, mayBePlain: plain }) =>
      `${scheme}://${authority}${apiPath}/${name} ${pulls}${isUnverified ? ' unverified' : ''}${plain ? ' plain' : ''}`,
  );
}

test('C16: registries.conf: prefixes, locations, mirrors, wildcards, fragments', async () => {
  const rules = await rulesOf({
    'registries.conf': `
unqualified-search-registries = ["quay.io"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "second.example"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/library"
location = "internal.example/copies"
[[registry]]
prefix = "*.blocked.example"
blocked = true
[[registry]]
location = "old.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example"
`,
    'registries.conf.d/10.conf': '[[registry]]\nprefix = "frag.example"\nlocation = "moved.example/x"\n',
  });
  assert.deepEqual(await places(rules, 'docker.io', 'team/app'), [
    'tls://mirror.example:5000/v2/hub/team/app all unverified plain',
    'tls://second.example/v2/team/app digest-only',
    'tls://registry-1.docker.io/v2/team/app all',
  ]);
  assert.deepEqual(await places(rules, 'docker.io', 'library/x'), ['tls://internal.example/v2/copies/x all']);
  assert.deepEqual(await places(rules, 'frag.example', 'a/b'), ['tls://moved.example/v2/x/a/b all']);
  assert.deepEqual(await places(rules, 'old.example', 'a'), [
    'tls://m.example/v2/a digest-only',
    'tls://old.example/v2/a all',
  ]);
  await rejects(places(rules, 'a.blocked.example', 'x'), 'REGISTRY_REFUSED', /blocks/);
});

test('C16: hosts.toml: order, capabilities, override_path, server, headers', async () => {
  const rules = await rulesOf({
    'certs.d/docker.io/hosts.toml': `
server = "https://registry-1.docker.io"
[host."https://cache.example/v2/proxy"]
  capabilities = ["pull", "resolve"]
  override_path = true
  ca = "ca.pem"
  [host."https://cache.example/v2/proxy".header]
    x-team = "a"
[host."http://plain.example:5000"]
  capabilities = ["pull"]
[host."https://push.example"]
  capabilities = ["push"]
`,
    'certs.d/_default/hosts.toml': '[host."https://all.example"]\n',
    'certs.d/port.example_5000_/hosts.toml': 'server = "https://port.example:5000"\nskip_verify = true\n',
  });
  assert.deepEqual(await places(rules, 'docker.io', 'library/x'), [
    'tls://cache.example/v2/proxy/library/x all'.replace('tls', 'https'),
    'http://plain.example:5000/v2/library/x digest-only plain',
    'https://registry-1.docker.io/v2/library/x all',
  ]);
  assert.deepEqual(await places(rules, 'other.example', 'x'), [
    'https://all.example/v2/x all',
    'tls://other.example/v2/x all',
  ]);
  assert.deepEqual(await places(rules, 'port.example:5000', 'x'), [
    'tls://port.example:5000/v2/x all unverified plain',
  ]);
});

test('C16: daemon.json: mirrors of Docker Hub alone, and insecure registries', async () => {
  const rules = await rulesOf({
    'daemon.json':
      '{"registry-mirrors":["https://m.example"],"insecure-registries":["r.example:5000","10.0.0.0/8"]}',
  });
  assert.deepEqual(await places(rules, 'docker.io', 'x/y'), [
    'https://m.example/v2/x/y all',
    'tls://registry-1.docker.io/v2/x/y all',
  ]);
  assert.deepEqual(await places(rules, 'quay.io', 'x/y'), ['tls://quay.io/v2/x/y all']);
  assert.deepEqual(await places(rules, 'r.example:5000', 'x'), [
    'tls://r.example:5000/v2/x all unverified plain',
  ]);
});

test('C16: our own file, flags before it, and what is wrong in it is named', async () => {
  const rules = await rulesOf({
    'own.json': JSON.stringify({
      registries: {
        'docker.io': {
          mirrors: ['one.example', { location: 'two.example/x', pull: 'tag-only' }],
          fallback: false,
        },
        'r.example': { insecure: true, chunkSize: 1000 },
      },
    }),
  });
  assert.deepEqual(await places(rules, 'docker.io', 'a/b'), [
    'tls://one.example/v2/a/b all',
    'tls://two.example/v2/x/a/b tag-only',
  ]);
  const flag = parseMirrorFlag('docker.io=flag.example:5000/p');
  assert.ok(flag !== undefined);
  assert.deepEqual(
    (await places([flag, ...rules], 'docker.io', 'a/b'))[0],
    'tls://flag.example:5000/v2/p/a/b all',
  );
  assert.equal(parseMirrorFlag('not a host'), undefined);
  await rejects(
    rulesOf({ 'own.json': '{"registries":{"r.example":{"insecur":true}}}' }),
    'CONFIG_INVALID',
    /unknown member "insecur"/,
  );
  await rejects(
    rulesOf({ 'own.json': '{}', 'registries.conf': '[[registry]\n' }),
    'CONFIG_INVALID',
    /not TOML at line 1/,
  );
});

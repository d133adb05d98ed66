/** Build contexts of all kinds, and what ADD fetches: real git daemon, real http server, real layouts. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, importBusybox, openWorkspace, runTsbuild, type Workspace } from './fixture.ts';
import { readImageConfig, readLayoutConfig } from './image-config.ts';

const GIT_ENV = {
  ...process.env,
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.org',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.org',
};

function git(directory: string, ...args: string[]): string {
  return execFileSync('git', ['-C', directory, ...args], { env: GIT_ENV, encoding: 'utf8' }).trim();
}

interface Repository extends AsyncDisposable {
  readonly url: string;
  readonly directory: string;
  readonly commit: (ref: string) => string;
}

/** A repository with two tags, a branch, a submodule and a directory with a Dockerfile of its own. */
async function serveRepository(space: Workspace): Promise<Repository> {
  const base = join(space.directory, 'git');
  const directory = join(base, 'repo');
  const port = await freePort();
  const url = `git://127.0.0.1:${port}/repo`;
  mkdirSync(join(base, 'sub'), { recursive: true });
  mkdirSync(directory);
  git(join(base, 'sub'), 'init', '-q', '-b', 'main');
  writeFileSync(join(base, 'sub/inner'), 'inner\n');
  git(join(base, 'sub'), 'add', '.');
  git(join(base, 'sub'), 'commit', '-qm', 'sub');
  git(directory, 'init', '-q', '-b', 'main');
  mkdirSync(join(directory, 'docker'));
  writeFileSync(join(directory, 'f'), 'one\n');
  writeFileSync(join(directory, 'Dockerfile'), 'FROM bb:1\nCOPY . /src\nRUN cat /src/f\n');
  writeFileSync(join(directory, 'docker/Dockerfile'), 'FROM bb:1\nRUN echo from the directory\n');
  const daemon = spawn(
    'git',
    ['daemon', `--base-path=${base}`, '--export-all', '--listen=127.0.0.1', `--port=${port}`],
    { stdio: 'ignore' },
  );
  await answers(port);
  git(directory, '-c', 'protocol.file.allow=always', 'submodule', 'add', '-q', join(base, 'sub'), 'module');
  git(directory, 'config', '-f', '.gitmodules', 'submodule.module.url', `git://127.0.0.1:${port}/sub`);
  git(directory, 'add', '.');
  git(directory, 'commit', '-qm', 'one');
  git(directory, 'tag', '-a', 'v1', '-m', 'one');
  writeFileSync(join(directory, 'f'), 'two\n');
  git(directory, 'commit', '-qam', 'two');
  git(directory, 'branch', 'side');
  return {
    url,
    directory,
    commit: (ref) => git(directory, 'rev-parse', `${ref}^{commit}`),
    async [Symbol.asyncDispose]() {
      daemon.kill();
      await once(daemon, 'exit');
    },
  };
}

async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    const socket = connect(port, '127.0.0.1');
    const isUp = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on ${port}`);
}

interface Served extends AsyncDisposable {
  readonly url: string;
  readonly requests: IncomingMessage[];
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Served> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** As `space.tsbuild`, while this process goes on: the server is in it. */
async function run(space: Workspace, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = space.start(args, env);
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  await once(child, 'close');
  return output;
}

const plain = (...args: string[]): string[] => ['build', '--progress', 'plain', ...args];

test('1.8 a git repository is a build context, by branch, tag, commit and directory', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const { url, commit } = repository;
  assert.match(space.ok(plain(url)).stderr, /\btwo\b/);
  assert.match(space.ok(plain(`${url}#v1`)).stderr, /\bone\b/);
  assert.match(space.ok(plain(`${url}#${commit('v1')}`)).stderr, /CACHED/);
  assert.match(space.ok(plain(`${url}#refs/heads/side`)).stderr, /CACHED/);
  assert.match(space.ok(plain(`${url}?branch=side&subdir=docker`)).stderr, /from the directory/);
  assert.match(space.ok(plain('-f', 'docker/Dockerfile', url)).stderr, /from the directory/);
  const missing = space.tsbuild(plain(`${url}#nothing`));
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /has no ref "nothing".*CONTEXT_NOT_FOUND/);
  assert.match(space.tsbuild(plain(`${url}?wrong=1`)).stderr, /unexpected query "wrong"/);
});

test('1.2 BUILDKIT_* args: BUILDKIT_CONTEXT_KEEP_GIT_DIR keeps .git of a context', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const own = space.context('own', {
    Dockerfile: 'FROM bb:1\nCOPY --from=src . /c\nRUN ls -d /c/.git || echo no .git\n',
  });
  const args = plain('--build-context', `src=${repository.url}`, own);
  assert.match(space.ok(args).stderr, /no \.git/);
  const kept = space.ok([...args, '--build-arg', 'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1']);
  assert.match(kept.stderr, /^#\d+ [\d.]+ \/c\/\.git$/m);
});

test('ADD of a branch that has another commit depends on its files, and is not said to lose them', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const { url, directory } = repository;
  git(directory, 'branch', 'moving', 'main');
  const context = space.context('moving', {
    Dockerfile: `FROM bb:1\nADD ${url}#moving:docker /d\nRUN ls /d\nADD ${url}#moving /all\n`,
  });
  space.ok(['-q', context]);
  git(directory, 'checkout', '-q', 'moving');
  writeFileSync(join(directory, 'f'), 'moved\n');
  git(directory, 'commit', '-qam', 'moved');
  git(directory, 'checkout', '-q', 'main');
  const asked = JSON.parse(space.ok(['why', '--format', 'json', context]).stdout) as {
    readonly steps: readonly { readonly name: string; readonly state: string }[];
  };
  assert.deepEqual(
    asked.steps.flatMap(({ name, state }) => (state === 'given' ? [] : [`${state} ${name.slice(0, 9)}`])),
    [
      'executed git git:/',
      'depends [2/4] ADD',
      'depends [3/4] RUN',
      'executed git git:/',
      'depends [4/4] ADD',
    ],
  );
  const { stderr } = space.ok(['--progress', 'plain', context]);
  assert.match(stderr, /\[2\/4\] ADD .*\n#\d+ CACHED/);
  assert.match(stderr, /\[4\/4\] ADD .*\n#\d+ executing: f changed\n/);
});

test('why of a step that cannot be described shows its line, as the build does', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('nowhere', { Dockerfile: 'FROM bb:1\nCOPY nowhere /\n' });
  const { stderr } = space.tsbuild(['why', context]);
  assert.match(stderr, /cannot find "nowhere"[^]*Dockerfile:2:6\n[^]*> {2}2 \| COPY nowhere \//);
});

test('files of a directory that FROM names are the first step of its stage', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('first-step', { Dockerfile: 'FROM files\nCOPY f /f\n', f: 'f\n' });
  const files = space.context('first-files', { a: 'a\n' });
  const args = ['--progress', 'plain', '--build-context', `files=${files}`, context];
  const { stderr } = space.ok(args);
  assert.match(stderr, /\[1\/2\] FROM files\n[^]*\[2\/2\] COPY f \/f\n/);
});

test('1.6 ADD git: refs, directories, submodules, checksum, .git on request', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const { url, commit } = repository;
  const context = space.context('c', {
    Dockerfile: `FROM bb:1
ADD ${url}#v1 /a
ADD --keep-git-dir=true ${url}#side /b
ADD --checksum=${commit('side')} ${url}#side:docker /d
RUN cat /a/f /a/module/inner /b/f && test ! -e /a/.git && test ! -e /a/module/.git && test -d /b/.git && ls /d && stat -c '%a %u:%g %Y' /a/f
`,
  });
  const { stderr } = space.ok(plain(context));
  const time = git(repository.directory, 'log', '-1', '--format=%ct', 'v1');
  for (const line of ['one', 'inner', 'two', 'Dockerfile', `644 0:0 ${time}`])
    assert.match(stderr, new RegExp(`^#\\d+ [\\d.]+ ${line}$`, 'm'));
  assert.match(space.ok(plain(context)).stderr, /0 executed/);

  const wrong = space.context('w', {
    Dockerfile: `FROM scratch\nADD --checksum=${'0'.repeat(40)} ${url}#side /d\n`,
  });
  assert.match(space.tsbuild(plain(wrong)).stderr, /DIGEST_MISMATCH/);
});

test('1.8 a tar on standard input, of any compression, and a Dockerfile on standard input', async () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile: 'FROM bb:1\nCOPY . /c\nRUN ls /c\n',
    Other: 'FROM bb:1\nRUN echo the other\n',
    file: 'x',
  });
  for (const compress of [[], ['-z'], ['-j'], ['-J'], ['--zstd']]) {
    const tar = execFileSync('tar', ['-C', context, ...compress, '-cf', '-', '.']);
    assert.match(runTsbuild(space, plain('-'), tar).stderr, /(\bOther\b|CACHED)/);
  }
  const tar = execFileSync('tar', ['-C', context, '-cf', '-', '.']);
  assert.match(runTsbuild(space, plain('-f', 'Other', '-'), tar).stderr, /the other/);
  assert.match(runTsbuild(space, plain('-f', 'Missing', '-'), tar).stderr, /DOCKERFILE_NOT_FOUND/);
  const text = Buffer.from('FROM bb:1\nRUN echo from stdin\n');
  assert.match(runTsbuild(space, plain('-'), text).stderr, /from stdin/);
  await using repository = await serveRepository(space);
  const both = Buffer.from('FROM bb:1\nCOPY f /\nRUN cat /f\n');
  assert.match(runTsbuild(space, plain('-f', '-', repository.url), both).stderr, /\btwo\b/);
});

test('1.9 SOURCE_DATE_EPOCH=context: the time of the commit, of the newest file; a directory has none', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const epoch = ['--build-arg', 'SOURCE_DATE_EPOCH=context'];
  const seconds = git(repository.directory, 'log', '-1', '--format=%ct', 'v1');
  const ofCommit = readImageConfig(space, `${repository.url}#v1`, ...epoch);
  assert.equal(Date.parse(ofCommit.created), Number(seconds) * 1000);
  const context = space.context('c', { Dockerfile: 'FROM bb:1\nENV A=1\n', f: '' });
  const timed = readImageConfig(space, context, ...epoch);
  assert.equal(timed.created, readImageConfig(space, context).created);
  await using site = await serve((_, response) => {
    response.end(execFileSync('tar', ['-C', context, '--mtime', '@1234567890', '-cf', '-', '.']));
  });
  const layout = join(space.directory, 'newest');
  const output = `type=oci,dest=${layout},tar=false`;
  await run(space, ['build', '-q', '-o', output, ...epoch, `${site.url}/c.tar`]);
  assert.equal(readLayoutConfig(layout).created, '2009-02-13T23:31:30Z');
});

test('1.8 a URL is a context: an archive, or a Dockerfile alone', async () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile: 'FROM bb:1\nCOPY file /\nRUN cat /file\n',
    file: 'over http',
  });
  const tar = execFileSync('tar', ['-C', context, '-czf', '-', '.']);
  await using server = await serve((request, response) => {
    if (request.url === '/ctx.tgz') response.end(tar);
    else if (request.url === '/Dockerfile') response.end('FROM bb:1\nRUN echo alone\n');
    else response.writeHead(404).end();
  });
  assert.match(await run(space, plain(`${server.url}/ctx.tgz`)), /over http/);
  assert.match(await run(space, plain(`${server.url}/Dockerfile`)), /alone/);
  assert.match(await run(space, plain(`${server.url}/nothing`)), /answered 404/);
});

test('1.6 ADD http(s): asked again conditionally, tokens for their host alone, checksums of three kinds', async () => {
  using space = openWorkspace();
  let body = 'first';
  await using server = await serve((request, response) => {
    if (request.url === '/away') response.writeHead(302, { location: '/f' }).end();
    else if (request.headers.authorization !== 'Bearer t0ken-value') response.writeHead(401).end();
    else if (request.headers['if-none-match'] === `"${body}"`) response.writeHead(304).end();
    else
      response
        .writeHead(200, { etag: `"${body}"`, 'last-modified': 'Wed, 21 Oct 2015 07:28:00 GMT' })
        .end(body);
  });
  const context = space.context('c', {
    Dockerfile: `FROM scratch\nADD ${server.url}/f /x/\nADD ${server.url}/away /y/\n`,
  });
  const args = plain('--secret', 'id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN', context);
  const env = { TOKEN: 't0ken-value' };
  assert.match(await run(space, plain(context)), /answered 401[\s\S]*HTTP_AUTH_TOKEN_127\.0\.0\.1/);
  await run(space, args, env);
  server.requests.length = 0;
  assert.match(await run(space, args, env), /0 executed/);
  assert.ok(server.requests.some(({ headers }) => headers['if-none-match'] === '"first"'));
  body = 'second';
  assert.match(await run(space, [...args, '-o', join(space.directory, 'out')], env), /2 executed/);
  assert.equal(readFileSync(join(space.directory, 'out/x/f'), 'utf8'), 'second');
  const digest = (name: string): string =>
    execFileSync(`${name}sum`, { input: 'second', encoding: 'utf8' }).split(' ')[0] ?? '';
  for (const algorithm of ['sha256', 'sha384', 'sha512']) {
    const sum = `${algorithm}:${digest(algorithm)}`;
    const good = space.context(algorithm, {
      Dockerfile: `FROM scratch\nADD --checksum=${sum} ${server.url}/f /\n`,
    });
    assert.match(await run(space, [...args.slice(0, -1), good], env), /^built sha256/m);
    const bad = space.context(`bad-${algorithm}`, {
      Dockerfile: `FROM scratch\nADD --checksum=${sum.slice(0, -4)}0000 ${server.url}/f /\n`,
    });
    assert.match(await run(space, [...args.slice(0, -1), bad], env), /DIGEST_MISMATCH/);
  }
});

test('1.8 Named contexts: directory, image, layout, repository, URL and stage; a stage of that name is replaced', async () => {
  using space = openWorkspace();
  importBusybox(space);
  await using repository = await serveRepository(space);
  const layout = join(space.directory, 'layout');
  space.ok([
    'build',
    '-q',
    '-t',
    'made:7',
    '-o',
    `type=oci,dest=${layout},tar=false`,
    space.context('made', {
      Dockerfile: 'FROM bb:1\nENV FROM_LAYOUT=1\nRUN echo made > /made\n',
    }),
  ]);
  const extra = space.context('extra', { file: 'extra', '.dockerignore': 'hidden', hidden: 'h' });
  const context = space.context('c', {
    Dockerfile: `FROM base AS first
COPY --from=dir . /dir
COPY --from=repo /f /f
COPY --from=image /etc/passwd /p
RUN --mount=from=dir,target=/mnt cat /mnt/file /made /f && test ! -e /dir/hidden && test -n "$FROM_LAYOUT"
FROM busybox:latest AS replaced
RUN this is never run
FROM scratch
COPY --from=first /f /
COPY --from=replaced /file /again
COPY --from=alias /made /
`,
  });
  const contexts = [
    `base=oci-layout://${layout}:7`,
    `dir=${extra}`,
    `repo=${repository.url}`,
    'image=docker-image://bb:1',
    `replaced=${extra}`,
    'alias=target:first',
  ].flatMap((each) => ['--build-context', each]);
  assert.match(space.ok(plain(...contexts, context)).stderr, /extra/);
  assert.match(
    space.tsbuild(plain('--build-context', `base=oci-layout://${layout}:8`, context)).stderr,
    /has no image "8"[\s\S]*it has 7/,
  );
  assert.match(
    space.tsbuild(plain('--build-context', 'x=s3://bucket', context)).stderr,
    /does not know "s3:\/\/"/,
  );
});

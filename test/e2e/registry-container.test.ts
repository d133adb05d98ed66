/**
 * A private registry as a container of an image that tsbuild built: Debian's docker-registry on busybox, published on
 * the host's loopback, its data in a directory of the host; pushed to, listed, pulled from, and stopped in order.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { freePort, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => {
  space.tsbuild(['rm', '-f', 'registry']);
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

const CONFIG = `version: 0.1
log: { level: info }
storage: { filesystem: { rootdirectory: /var/lib/docker-registry }, delete: { enabled: true } }
http: { addr: ":5000" }
`;

/** A build context with Debian's binary and the libraries that it is linked with. */
function registryContext(): string {
  const context = space.context('registry', {
    'config.yml': CONFIG,
    Dockerfile: `FROM bb:1
COPY files/ /
COPY config.yml /etc/docker/registry/config.yml
VOLUME /var/lib/docker-registry
EXPOSE 5000
ENTRYPOINT ["/usr/bin/docker-registry"]
CMD ["serve", "/etc/docker/registry/config.yml"]
`,
  });
  const libraries = execFileSync('ldd', ['/usr/bin/docker-registry'], { encoding: 'utf8' });
  const paths = [...libraries.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
  for (const path of ['/usr/bin/docker-registry', ...paths]) {
    mkdirSync(dirname(join(context, 'files', path)), { recursive: true });
    copyFileSync(path, join(context, 'files', path));
  }
  return context;
}

async function untilUp(url: string): Promise<void> {
  for (let tried = 0; ; tried += 1) {
    const status = await fetch(url).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    assert.ok(tried < 600, `${url} did not come up: ${space.tsbuild(['logs', 'registry']).stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('a private registry in a container: built, published, pushed to, pulled from, stopped', async () => {
  space.ok(['-q', '-t', 'registry:local', registryContext()]);
  const port = await freePort();
  const data = join(space.directory, 'data');
  mkdirSync(data);
  space.ok([
    ...['run', '-d', '--name', 'registry', '-p', `127.0.0.1:${port}:5000`],
    ...['-v', `${data}:/var/lib/docker-registry`, 'registry:local'],
  ]);
  const host = `127.0.0.1:${port}`;
  await untilUp(`http://${host}/v2/`);
  assert.match(space.ok(['port', 'registry']).stdout, new RegExp(`5000/tcp -> 127.0.0.1:${port}`));

  const app = space.context('app', {
    Dockerfile: 'FROM bb:1\nRUN echo from the registry > /f\nCMD ["cat", "/f"]\n',
  });
  const name = `${host}/team/app:1`;
  space.ok(['-q', '-t', name, app]);
  space.ok(['push', name]);
  const catalogue = await (await fetch(`http://${host}/v2/_catalog`)).json();
  assert.deepEqual(catalogue, { repositories: ['team/app'] });
  assert.deepEqual(readdirSync(join(data, 'docker/registry/v2/repositories')), ['team']);

  space.ok(['rmi', name]);
  assert.doesNotMatch(space.ok(['images']).stdout, /team\/app/);
  space.ok(['pull', name]);
  assert.equal(space.ok(['run', '--rm', name]).stdout, 'from the registry\n');

  const before = Date.now();
  space.ok(['stop', 'registry']);
  const took = Date.now() - before;
  const state = JSON.parse(space.ok(['inspect', '--format', '{{json .State}}', 'registry']).stdout) as {
    readonly Status: string;
    readonly ExitCode: number;
    readonly FinishedAt: string;
  };
  assert.equal(state.Status, 'exited');
  // Its own: a Go program that gets SIGTERM as pid 1 cannot end by the signal, and exits with 2 instead.
  assert.equal(state.ExitCode, 2);
  // Well before SIGKILL would have come, after ten seconds; how fast is for the machine to say.
  assert.ok(Date.parse(state.FinishedAt) - before < 8000, `it ended ${state.FinishedAt}`);
  assert.ok(took < 9000, `stop took ${took} ms`);
});

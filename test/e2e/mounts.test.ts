/** RUN --mount: what a step sees of contexts, stages and caches. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chownSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { importBusybox, openWorkspace } from './fixture.ts';

const plain = (...args: string[]): string[] => ['build', '--progress', 'plain', ...args];

test('1.5 type=bind of the context: at its path, without ignored files, owned by root, written to in vain', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    '.dockerignore': 'hidden\n*.log\n',
    hidden: 'h',
    'a.log': 'l',
    'dir/file': 'f',
    'odd[1]*': 'odd',
    Dockerfile: `FROM bb:1
RUN --mount=target=/m test ! -e /m/hidden && test ! -e /m/a.log && test "$(stat -c %u:%g /m/dir/file)" = 0:0
RUN --mount=source=dir,target=/d test "$(ls /d)" = file
RUN --mount=source=dir/file,target=/f test "$(cat /f)" = f
RUN --mount=source=odd[1]*,target=/odd test "$(cat /odd)" = odd
RUN --mount=target=/m,rw echo new > /m/dir/file && cat /m/dir/file
RUN --mount=target=/m test "$(cat /m/dir/file)" = f && ! touch /m/x
`,
  });
  chownSync(join(context, 'dir/file'), 1234, 4321);
  assert.match(space.ok(plain(context)).stderr, /\bnew\b/);
  // A change that the mount does not show executes nothing.
  writeFileSync(join(context, 'hidden'), 'changed');
  assert.match(space.ok(plain(context)).stderr, /\(0 executed/);
  const missing = space.context('m', { Dockerfile: 'FROM bb:1\nRUN --mount=source=nope,target=/n true\n' });
  assert.match(space.tsbuild(plain(missing)).stderr, /COPY_SOURCE_NOT_FOUND[\s\S]*Dockerfile:2/);
});

test('1.5 type=bind from a stage of one layer, of many, and from an image', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    f: 'f',
    Dockerfile: `FROM scratch AS one
COPY f /
FROM one AS two
COPY f /g
FROM bb:1
RUN --mount=from=one,target=/m test "$(ls /m)" = f
RUN --mount=from=two,target=/m test "$(ls /m | tr '\\n' ' ')" = "f g "
RUN --mount=from=two,source=g,target=/etc/motd test "$(cat /etc/motd)" = f
RUN --mount=from=bb:1,source=/bin,target=/other test -x /other/busybox
`,
  });
  space.ok(plain(context));
});

test('1.5 type=cache: kept between builds, begun from another stage, empty with --no-cache, told apart by owner', () => {
  using space = openWorkspace();
  importBusybox(space);
  const run = (flags: string, command: string): string => {
    const context = space.context('c', {
      seed: 'seed',
      Dockerfile: `FROM scratch AS seeds\nCOPY seed /start/\nFROM bb:1\nARG N\nRUN --mount=type=cache,target=/c${flags} ${command}; ls /c | tr '\\n' ' '; stat -c '<%a %u:%g>' /c\n`,
    });
    return space.ok(plain('--build-arg', `N=${String(Math.random())}`, context)).stderr;
  };
  assert.match(run('', 'touch /c/one'), /one <755 0:0>/);
  assert.match(run('', 'touch /c/two'), /one two </);
  assert.match(run(',id=other', 'true'), / <755/);
  assert.match(run(',uid=7,gid=8,mode=0700', 'true'), / <700 7:8>/);
  assert.match(run(',from=seeds,source=/start', 'touch /c/more'), /more seed </);
  assert.match(run(',from=seeds,source=/start', 'true'), /more seed </);
  assert.match(run(',readonly', 'touch /c/three 2>&1 || echo refused'), /refused/);
  const context = space.context('n', {
    Dockerfile: 'FROM bb:1\nRUN --mount=type=cache,target=/c echo "<$(ls /c)>"; touch /c/one\n',
  });
  assert.match(space.ok(plain('--no-cache', context)).stderr, /<>/);
  assert.match(space.ok(plain('--build-arg', 'BUILDKIT_CACHE_MOUNT_NS=mine', context)).stderr, /<>/);
});

test('builds that empty a cache harm none beside them, and leave one cache', async () => {
  using space = openWorkspace();
  importBusybox(space);
  const emptying = space.context('emptying', {
    Dockerfile: `FROM bb:1
RUN --mount=type=cache,target=/a echo >> /a/x; sleep 0.05; echo >> /a/y
RUN --mount=type=cache,target=/b,from=bb:1,source=/bin ls /b/busybox && echo >> /b/x
`,
  });
  const beside = space.context('using', {
    Dockerfile:
      'FROM bb:1\nARG N\nRUN --mount=type=cache,target=/a echo $N > /a/$N && sleep 0.1 && cat /a/$N\n',
  });
  const run = async (args: readonly string[]): Promise<string> => {
    const child = space.start(args);
    let stderr = '';
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return code === 0 ? '' : stderr;
  };
  for (let round = 0; round < 3; round += 1) {
    const builds = [0, 1, 2, 3].flatMap((n) => [
      run(['-q', '--no-cache', '--network', 'none', emptying]),
      run(['-q', '--network', 'none', '--build-arg', `N=${round}${n}`, beside]),
    ]);
    assert.deepEqual([...new Set(await Promise.all(builds))], ['']);
  }
  const names = readdirSync(join(space.root, 'run/caches'));
  assert.equal(names.length, 2, names.join(' '));
  assert.ok(
    names.every((name) => /^[0-9a-f]{64}$/.test(name)),
    names.join(' '),
  );
});

test('1.5 --security and --network need their entitlements', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile: `FROM bb:1
RUN grep CapEff /proc/self/status
RUN --security=insecure grep CapEff /proc/self/status
RUN --network=none ip -o link
`,
  });
  assert.match(
    space.tsbuild(plain(context)).stderr,
    /entitlement security\.insecure[\s\S]*--allow security\.insecure/,
  );
  const { stderr } = space.ok(plain('--allow', 'security.insecure', context));
  assert.match(stderr, /CapEff:\s+00000000a80425fb/);
  const own = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '';
  assert.match(stderr, new RegExp(`CapEff:\\s+${own}`));
  const host = space.context('h', { Dockerfile: 'FROM bb:1\nRUN --network=host true\n' });
  assert.match(space.tsbuild(plain(host)).stderr, /entitlement network\.host/);
  space.ok(plain('--allow', 'network.host', host));
});

/** `system df`, `prune` in its kinds, and storage.max, as users see them. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, eventually, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => space[Symbol.dispose]());

const images = (): readonly string[] =>
  space.ok(['images', '--format', '{{.Repository}}:{{.Tag}}']).stdout.trim().split('\n').toSorted();

function rows(...args: readonly string[]): readonly Readonly<Record<string, string>>[] {
  const lines = space
    .ok(['system', 'df', ...args, '--format', 'json'])
    .stdout.trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, string>);
}

test("system df has docker's columns and kinds, and -v lists each thing", () => {
  const context = space.context('df', {
    Dockerfile: 'FROM bb:1\nRUN --mount=type=cache,id=stuff,target=/c echo x > /c/x; echo 1 > /f\n',
  });
  space.ok(['-q', '-t', 'df:1', context]);
  space.ok(['create', '--name', 'df-box', '-v', 'df-data:/data', 'df:1', 'true']);
  const table = space.ok(['system', 'df']).stdout;
  assert.match(table, /^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\n/);
  const [ofImages, ofContainers, ofVolumes, ofCache] = rows();
  assert.deepEqual(
    [ofImages, ofContainers, ofVolumes, ofCache].map((each) => each?.['Type']),
    ['Images', 'Containers', 'Local Volumes', 'Build Cache'],
  );
  assert.deepEqual([ofImages?.['TotalCount'], ofImages?.['Active']], ['2', '1']);
  assert.deepEqual([ofVolumes?.['TotalCount'], ofVolumes?.['Active']], ['1', '1']);
  assert.match(ofCache?.['Size'] ?? '', /kB$/);
  const whole = space.ok(['system', 'df', '-v']).stdout;
  assert.match(
    whole,
    /^Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\n/,
  );
  assert.match(whole, /\ndf +1 +[0-9a-f]{12} .* 1\n/);
  assert.match(whole, /\ndf-data +1 +0B\n|\ndf-data +1 +[\d.]+kB\n/);
  assert.match(whole, /exec\.cachemount .* cache mount stuff\n/);
  assert.match(whole, /regular .* true +RUN --mount=type=cache/);
  assert.match(space.tsbuild(['system', 'df', '-v', '--format', '{{.Type}}']).stderr, /takes no template/);
  space.ok(['rm', 'df-box']);
});

test('prune leaves what made images, with --all it goes too, and the images stay whole', () => {
  const context = space.context('prune', { Dockerfile: 'FROM bb:1\nRUN echo prune-1 > /f\n' });
  space.ok(['-q', '-t', 'kept:1', context]);
  writeFileSync(
    join(context, 'Dockerfile'),
    'FROM bb:1 AS lost\nRUN echo prune-2 > /g; echo > /h\nFROM bb:1\nCOPY --from=lost /g /g\n',
  );
  space.ok(['-q', '-o', join(space.directory, 'out'), context]);
  const listed = space.ok(['builder', 'prune', '--verbose', '-f']).stdout;
  assert.match(listed, /RUN echo prune-2 > \/g; echo > \/h/);
  assert.doesNotMatch(listed, /prune-1/);
  assert.match(listed, /\nTotal:\t[\d.]+kB\n$/);
  writeFileSync(join(context, 'Dockerfile'), 'FROM bb:1\nRUN echo prune-1 > /f\n');
  assert.match(space.ok(['--progress', 'plain', context]).stderr, /#\d+ CACHED/);
  space.ok(['prune', '-a', '-f']);
  assert.doesNotMatch(space.ok(['--progress', 'plain', '-t', 'kept:1', context]).stderr, /CACHED/);
  assert.equal(space.ok(['run', '--rm', 'kept:1', 'cat', '/f']).stdout, 'prune-1\n');
  assert.match(space.ok(['system', 'check']).stdout, /no damage/);
});

test('filters of prune choose by type, by last use and by id', () => {
  const context = space.context('filters', {
    Dockerfile: 'FROM bb:1\nRUN --mount=type=cache,target=/c echo x > /c/x; echo filters > /f\n',
  });
  space.ok(['-q', '-o', join(space.directory, 'filters-out'), context]);
  const types = (): readonly string[] => rows('-v').flatMap((row) => row['CacheType'] ?? []);
  assert.ok(types().includes('exec.cachemount'));
  assert.match(space.ok(['prune', '-a', '--filter', 'unused-for=1h']).stdout, /^Total:\t0B\n$/);
  assert.match(space.ok(['prune', '-a', '--filter', 'until=2020-01-01']).stdout, /^Total:\t0B\n$/);
  space.ok(['prune', '--filter', 'type=exec.cachemount', '--filter', 'until=0s']);
  assert.ok(!types().includes('exec.cachemount') && types().includes('regular'));
  assert.match(space.ok(['prune', '-a', '--max-used-space', '1g']).stdout, /^Total:\t0B\n$/);
  space.ok(['prune', '-a', '--keep-storage', '0']);
  assert.deepEqual(types(), []);
  for (const [filter, message] of [
    ['until=soon', /invalid duration in "until=soon"/],
    ['type=layer', /the cache has nothing of the type "layer"/],
    ['size=3', /invalid filter "size=3"/],
  ] as const) {
    const { code, stderr } = space.tsbuild(['prune', '--filter', filter]);
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
});

test('image prune and system prune remove what docker would, and nothing that a container is made of', () => {
  space.ok(['image', 'prune', '-f']);
  const context = space.context('images', { Dockerfile: 'FROM bb:1\nLABEL keep=yes\nRUN echo old > /f\n' });
  space.ok(['-q', '-t', 'app:1', context]);
  writeFileSync(join(context, 'Dockerfile'), 'FROM bb:1\nRUN echo new > /f\n');
  space.ok(['-q', '-t', 'app:1', context]);
  assert.ok(images().includes('<none>:<none>'));
  assert.match(
    space.ok(['image', 'prune', '--filter', 'label!=keep']).stdout,
    /^Total reclaimed space: 0B\n$/,
  );
  assert.match(
    space.ok(['image', 'prune']).stdout,
    /^Deleted Images:\ndeleted: sha256:[0-9a-f]{64}\n\nTotal reclaimed space: [1-9]/,
  );
  assert.ok(!images().includes('<none>:<none>'));
  space.ok(['create', '--name', 'stays', 'app:1', 'sleep', '60']);
  const all = space.ok(['image', 'prune', '-a', '-f']).stdout;
  assert.match(all, /untagged: bb:1\n/);
  assert.deepEqual(images(), ['app:1']);
  space.ok(['start', 'stays']);
  space.ok(['create', '--name', 'goes', 'app:1', 'true']);
  const pruned = space.ok(['system', 'prune', '-a', '-f', '--volumes']).stdout;
  assert.match(pruned, /^Deleted Containers:\n[0-9a-f]{64}\n\n/);
  assert.match(pruned, /Total reclaimed space: /);
  assert.equal(space.ok(['exec', 'stays', 'cat', '/f']).stdout, 'new\n');
  space.ok(['rm', '-f', 'stays']);
  space.ok(['system', 'prune', '-a', '-f']);
  assert.deepEqual(images(), ['']);
  assert.match(space.ok(['system', 'check']).stdout, /checked 0 blobs, 0 layers, 0 images, 0 snapshots/);
  importBusybox(space);
});

test('prune beside a running build takes nothing of it', async () => {
  const context = space.context('beside', {
    Dockerfile: 'FROM bb:1\nRUN echo one > /one\nRUN sleep 2; cat /one > /two\nRUN cat /one /two > /three\n',
  });
  const child = space.start(['-q', '-t', 'beside:1', context]);
  let errors = '';
  child.stderr?.on('data', (data: Buffer) => (errors += data.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await eventually(() => assert.ok(existsSync(join(space.root, 'leases'))));
  for (let at = 0; at < 3; at += 1) {
    space.ok(['prune', '-a', '-f']);
    space.ok(['image', 'prune', '-f']);
  }
  assert.equal(await ended, 0, errors);
  assert.equal(space.ok(['run', '--rm', 'beside:1', 'cat', '/three']).stdout, 'one\none\n');
  assert.match(space.ok(['system', 'check']).stdout, /no damage/);
  assert.deepEqual(readdirSync(join(space.root, 'leases')), []);
});

test('storage.max is held by builds one after the other; one that cannot fit says so and harms nothing', () => {
  space.ok(['prune', '-a', '-f']);
  const config = join(space.directory, 'tsbuild.toml');
  writeFileSync(config, '[storage]\nmax = "24m"\n');
  const env = { TSBUILD_CONFIG: config };
  const build = (megabytes: number, name: string): ReturnType<Workspace['tsbuild']> => {
    writeFileSync(
      join(space.directory, 'budget.Dockerfile'),
      `FROM bb:1\nRUN dd if=/dev/urandom of=/big bs=1M count=${megabytes}\n`,
    );
    return space.tsbuild(
      ['-q', '--no-cache', '-t', name, '-f', join(space.directory, 'budget.Dockerfile'), space.directory],
      { env },
    );
  };
  for (let round = 0; round < 4; round += 1) {
    assert.equal(build(4, 'budget:1').code, 0);
    const [used = ''] =
      /[\d.]+/.exec(space.ok(['system', 'df', '--format', '{{.Type}} {{.Size}}']).stdout) ?? [];
    assert.ok(Number(used) < 25);
  }
  const { code, stderr } = build(20, 'budget:2');
  assert.equal(code, 1);
  assert.match(stderr, /cannot keep .* below ".*": storage\.max is 24 MiB/);
  assert.match(stderr, /\[STORAGE_FULL\]/);
  assert.match(space.ok(['system', 'check']).stdout, /no damage/);
  assert.equal(space.ok(['run', '--rm', 'budget:1', 'ls', '/big']).stdout, '/big\n');
  assert.deepEqual(leftovers(space.root), []);
  writeFileSync(config, '[storage]\nmaximum = "24m"\n');
  assert.match(space.tsbuild(['images'], { env }).stderr, /storage\.maximum is nothing that tsbuild knows/);
  assert.match(space.tsbuild(['--storage-max', 'lots', 'images']).stderr, /invalid --storage-max "lots"/);
});

test('a step that writes past storage.max is ended while it writes', () => {
  const context = space.context('flood', {
    Dockerfile:
      'FROM bb:1\nRUN for i in $(seq 100); do dd if=/dev/zero of=/f$i bs=1M count=2 2>/dev/null; sleep 0.1; done\n',
  });
  const { code, stderr } = space.tsbuild(['--progress', 'plain', '--storage-max', '40m', context]);
  assert.equal(code, 1);
  assert.match(stderr, /cannot keep what is being written below ".*": storage\.max is 40 MiB/);
  assert.deepEqual(leftovers(space.root), []);
  assert.match(space.ok(['system', 'check']).stdout, /no damage/);
});

test('a step that fills a cache mount past storage.max is ended while it writes', () => {
  const root = join(space.directory, 'mount-root');
  execFileSync('cp', ['-a', space.root, root]);
  const context = space.context('full-mount', {
    Dockerfile:
      'FROM bb:1\nRUN --mount=type=cache,target=/c for i in 1 2 3 4 5 6 7 8 9; do head -c 20000000 /dev/zero > /c/$i; sleep 1; done\n',
  });
  const { code, stderr } = space.tsbuild(['--root', root, '--storage-max', '60m', context]);
  assert.equal(code, 1);
  assert.match(stderr, /storage\.max is 60 MiB.*\[STORAGE_FULL\]/);
  const [mount = ''] = readdirSync(join(root, 'run/caches'));
  assert.ok(!readdirSync(join(root, 'run/caches', mount)).includes('9'));
});

test('a cache mount that does not fit below storage.max does not arrive, and the build goes on', () => {
  const context = space.context('large-mount', {
    Dockerfile:
      'FROM bb:1\nARG N\nRUN --mount=type=cache,target=/c [ $N = 1 ] && head -c 60000000 /dev/urandom > /c/f; ls /c > /l\nCMD ["cat", "/l"]\n',
  });
  const cache = join(space.directory, 'large-mount-cache');
  space.ok(['--build-arg', 'N=1', '--cache-to', `type=local,dest=${cache},mounts=true`, context]);
  const root = join(space.directory, 'small-root');
  execFileSync('cp', ['-a', space.root, root]);
  rmSync(join(root, 'run/caches'), { recursive: true });
  for (const [limit, found] of [
    ['40m', ''],
    ['400m', 'f\n'],
  ] as const) {
    const flags = ['--root', root, '--storage-max', limit, '--no-cache-filter', 'x'];
    const from = ['--cache-from', `type=local,src=${cache},mounts=true`, '--progress', 'plain'];
    const built = space.ok([...flags, '--build-arg', `N=${limit}`, '-t', 'l', ...from, context]);
    assert.equal(
      /WARN: cannot read cache mounts .*storage\.max/.test(built.stderr),
      found === '',
      built.stderr,
    );
    assert.equal(space.ok(['--root', root, 'run', '--rm', 'l']).stdout, found);
    rmSync(join(root, 'run/caches'), { recursive: true });
  }
});

test('import and load are ended where what they write passes storage.max', async () => {
  const root = join(space.directory, 'import-root');
  const files = join(space.directory, 'import-files');
  mkdirSync(files);
  execFileSync('truncate', ['-s', '4G', join(files, 'f')]);
  for (const command of [['import', '-', 'large:1'], ['load']]) {
    const child = spawn(process.execPath, [CLI, '--root', root, '--storage-max', '50m', ...command], {
      env: space.env,
    });
    const tar = spawn('tar', ['-C', files, '-c', 'f'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let sent = 0;
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    tar.stdout.on('data', (data: Buffer) => {
      sent += data.byteLength;
      // As a network would: 50 MB a second.
      tar.stdout.pause();
      if (child.stdin.write(data)) setTimeout(() => tar.stdout.resume(), data.byteLength / 50_000);
      else child.stdin.once('drain', () => tar.stdout.resume());
    });
    child.stdin.on('error', () => undefined);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    tar.kill('SIGKILL');
    assert.equal(code, 1, stderr);
    assert.match(stderr, /storage\.max is 50 MiB.*\[STORAGE_FULL\]/);
    assert.ok(sent < 1_000_000_000, `${sent} bytes were taken`);
    assert.deepEqual(readdirSync(join(root, 'spool')), []);
  }
});

test('a full disk is named by its place, and what is there stays; with room again builds go on', () => {
  const small = join(space.directory, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'tmpfs', small]);
  try {
    const other = { env: { TSBUILD_ROOT: join(small, 'state') } };
    space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], other);
    const context = space.context('full', {
      Dockerfile: 'FROM bb:1\nRUN dd if=/dev/urandom of=/big bs=1M count=5\n',
    });
    const first = space.tsbuild(['-q', '-t', 'full:1', context], other);
    assert.match(first.stderr, /no space left on device below ".*small\/state" \[DISK_FULL\]/);
    writeFileSync(join(small, 'rest'), Buffer.alloc(1 << 20));
    spawnSync('dd', ['if=/dev/zero', `of=${join(small, 'rest')}`, 'bs=64k']);
    assert.match(space.tsbuild(['-q', '-t', 'full:1', context], other).stderr, /small\/state.*\[DISK_FULL\]/);
    // Removing works on a full disk.
    space.ok(['prune', '-a', '-f'], other);
    rmSync(join(small, 'rest'));
    assert.match(space.ok(['system', 'check'], other).stdout, /no damage/);
    writeFileSync(join(context, 'Dockerfile'), 'FROM bb:1\nRUN echo room > /f\n');
    space.ok(['-q', '-t', 'full:1', context], other);
    assert.equal(
      space.ok(['run', '--rm', '--network', 'none', 'full:1', 'cat', '/f'], other).stdout,
      'room\n',
    );
  } finally {
    execFileSync('umount', [small]);
  }
});

/** Cache mounts that travel: the same directory on another machine, and little moved when little has changed. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  machine,
  openCacheStand,
  type CacheStand,
  type Machine,
  type Watched,
} from '../e2e/cache-fixture.ts';
import { type Workspace } from '../e2e/fixture.ts';

let stand: CacheStand;
let space: Workspace;
let watched: Watched;
let base: string;
before(async () => {
  stand = await openCacheStand();
  ({ space, watched, base } = stand);
});
after(() => stand[Symbol.asyncDispose]());

/** A package as npm caches one: its bytes by their digest, and an entry of the index. */
const ADD = [
  'add() {',
  '  head -c $2 /dev/urandom > /tmp/p; d=$(sha256sum /tmp/p | cut -c1-64)',
  '  mkdir -p /cache/content/$(echo $d | cut -c1-2) /cache/index/$(echo $1 | md5sum | cut -c1-2)',
  '  mv /tmp/p /cache/content/$(echo $d | cut -c1-2)/$d',
  '  echo "{\\"key\\":\\"$1\\",\\"integrity\\":\\"$d\\"}" >> /cache/index/$(echo $1 | md5sum | cut -c1-2)/$1',
  '}',
].join('\n');

const LIST =
  'cd /cache && find . -mindepth 1 | sort | while read f; do stat -c "%n %F %a %u %g %Y %N" "$f"; done > /list; find . -type f | sort | xargs sha256sum >> /list';

let contexts = 0;

function context(script: string, mount = 'id=npm,target=/cache'): string {
  contexts += 1;
  return space.context(`c${contexts}`, {
    Dockerfile: `FROM ${base}\nRUN --mount=type=cache,${mount} <<E\n# ${contexts}\n${ADD}\n${script}\nE\nCMD ["cat", "/list"]\n`,
  });
}

const cache = (name: string): string => `${watched.host}/mounts/${name}`;
const from = (name: string): readonly string[] => [
  '--cache-from',
  `type=registry,ref=${cache(name)},mounts=true`,
];
const to = (name: string): readonly string[] => [
  '--cache-to',
  `type=registry,ref=${cache(name)},mounts=true`,
];

async function listed(on: Machine, ...flags: readonly string[]): Promise<string> {
  await on.run('-t', 'listed', '--progress', 'plain', ...flags, context(LIST));
  return (await on.run('run', '--rm', 'listed')).stdout;
}

/** Megabytes of them, so that what is fixed does not count. */
const MANY = 'for n in $(seq 1 40); do add pkg$n $((100000 + n * 4000)); done';

test('another machine gets the directory as it was: bytes, modes, owners, times, links', async () => {
  const one = machine(space, 'same-1');
  const script = [
    'add a 300000; add b 10',
    'mkdir -m 1777 /cache/odd; echo x > /cache/odd/x; chmod 640 /cache/odd/x; chown 1000:2000 /cache/odd/x',
    'touch -d "2001-02-03 04:05:06" /cache/odd/x; ln -s ../index /cache/odd/link; ln /cache/odd/x /cache/odd/hard',
    ': > /cache/odd/empty; mkdir /cache/none; touch -d "2002-02-03 04:05:06" /cache/none',
    'touch "/cache/odd/$(printf "n\\303\\244me\\377")"; mkfifo /cache/odd/fifo',
  ].join('\n');
  await one.run(...to('same'), context(script));
  const here = await listed(one, ...to('same'));
  const there = await listed(machine(space, 'same-2'), ...from('same'));
  assert.match(here, /odd\/x regular file 640 1000 2000 981173106/);
  assert.match(here, /odd\/link symbolic link .* -> /);
  // What is no file travels not: nobody caches a fifo.
  const withoutFifo = here.split('\n').filter((line) => !line.includes('fifo'));
  assert.deepEqual(
    there.split('\n').filter((line) => !/^\.\/odd (directory)/.test(line)),
    withoutFifo.filter((line) => !/^\.\/odd (directory)/.test(line)),
  );
});

test('after one package more, at most a twentieth of the cache is written, and read where the older state lies', async () => {
  const one = machine(space, 'delta-1');
  const two = machine(space, 'delta-2');
  watched.reset();
  await one.run(...to('delta'), context(MANY));
  const whole = watched.bytes();
  assert.ok(whole > 7_000_000, `${whole}`);
  watched.reset();
  const before = await listed(two, ...from('delta'));
  assert.ok(watched.bytes() > 7_000_000 && watched.bytes() < 1.1 * whole, `${watched.bytes()} of ${whole}`);

  const idle = context('true');
  watched.reset();
  await one.run(...to('delta'), idle);
  const nothing = watched.bytes();
  await one.run(...to('delta'), context('add new 60000'));
  const written = watched.bytes() - nothing;
  assert.ok(written < whole / 20, `${written} of ${whole} bytes written, ${nothing} without a change`);
  watched.reset();
  const after_ = await listed(two, ...from('delta'));
  assert.ok(watched.bytes() < whole / 20, `${watched.bytes()} of ${whole} bytes read`);
  assert.notEqual(after_, before);
  assert.equal(after_, await listed(one));
});

test('a hole arrives as a hole', async () => {
  await machine(space, 'hole-1').run(
    ...to('hole'),
    context('truncate -s 50000000 /cache/hole; echo end >> /cache/hole'),
  );
  const two = await machine(space, 'hole-2').run(
    ...from('hole'),
    ...['--progress', 'plain', context('stat -c "%s bytes" /cache/hole; du -k /cache/hole')],
  );
  assert.match(two.stderr, /50000004 bytes/);
  const [, kilobytes] = /(\d+)\t\/cache\/hole/.exec(two.stderr) ?? [];
  assert.ok(Number(kilobytes) < 2000, kilobytes);
});

test('what did not change is neither written nor read again', async () => {
  const one = machine(space, 'idle-1');
  const two = machine(space, 'idle-2');
  await one.run(...to('idle'), context(MANY));
  await listed(two, ...from('idle'));
  watched.reset();
  await two.run(...from('idle'), ...to('idle'), context('true'));
  const ours = watched.requests.filter((each) => each.includes('/mounts/idle/') && each.includes('tsm-'));
  assert.deepEqual([...new Set(ours.map((each) => each.split(' ')[0]))], ['GET']);
  assert.ok(watched.bytes() < 40_000, `${watched.bytes()}`);
});

test('a change in the middle of a large file moves its neighbourhood alone', async () => {
  const one = machine(space, 'cdc-1');
  await one.run(...to('cdc'), context('head -c 6000000 /dev/urandom > /cache/db'));
  const two = machine(space, 'cdc-2');
  await listed(two, ...from('cdc'));
  watched.reset();
  await one.run(
    ...to('cdc'),
    context(
      'head -c 2000000 /cache/db > /cache/n; echo inserted >> /cache/n; tail -c +2000001 /cache/db >> /cache/n; mv /cache/n /cache/db',
    ),
  );
  assert.ok(watched.bytes() < 1_000_000, `${watched.bytes()} bytes written`);
  watched.reset();
  assert.equal(await listed(two, ...from('cdc')), await listed(one));
  assert.ok(watched.bytes() < 1_000_000, `${watched.bytes()} bytes read`);
});

test('the mounts of a build that fails are kept; a directory that a machine filled itself is left alone', async () => {
  const one = machine(space, 'fail-1');
  await assert.rejects(one.run(...to('fail'), context('add a 1000; exit 3')), /RUN_FAILED/);
  const two = machine(space, 'fail-2');
  assert.match(await listed(two, ...from('fail')), /index\/\w\w\/a regular/);
  const three = machine(space, 'fail-3');
  await three.run(context('add own 1000'));
  const kept = await listed(three, ...from('fail'));
  assert.match(kept, /index\/\w\w\/own regular/);
  assert.doesNotMatch(kept, /index\/\w\w\/a regular/);
});

test('a directory of a layout does as well, and a mount that is damaged costs a warning', async () => {
  const directory = join(space.directory, 'mounts-layout');
  const one = machine(space, 'layout-1');
  await one.run('--cache-to', `type=local,dest=${directory},mounts=true`, context('add a 5000; add b 70000'));
  const flags = ['--cache-from', `type=local,src=${directory},mounts=true`];
  assert.equal(await listed(machine(space, 'layout-2'), ...flags), await listed(one));
  for (const name of readdirSync(join(directory, 'blobs/sha256')))
    if (name.length === 64) rmSync(join(directory, 'blobs/sha256', name));
  const three = await machine(space, 'layout-3').run('--progress', 'plain', ...flags, context('add c 10'));
  assert.doesNotMatch(three.stderr, /error:/);
});

test('a registry that refuses or sends garbage costs a warning, and the step runs', async () => {
  const one = machine(space, 'bad-1');
  await one.run(...to('bad'), context('add a 5000'));
  for (const fault of [403, 'garbage'] as const) {
    watched.fault = (_method, url) => (url.includes('/tsm-') ? fault : undefined);
    const done = await machine(space, `bad-${fault}`).run(
      '--progress',
      'plain',
      ...from('bad'),
      ...to('bad'),
      context('ls /cache'),
    );
    watched.fault = undefined;
    assert.equal(done.stderr.match(/WARN: cannot read cache mounts from the cache/g)?.length, 1, done.stderr);
  }
});

for (const damage of ['lost', 'damaged'])
  test(`packs of a mount that are ${damage} are written again by whoever builds next`, async () => {
    const directory = join(space.directory, `packs-${damage}`);
    const spec = (name: string): readonly string[] =>
      name === 'registry'
        ? [...from(`packs-${damage}`), ...to(`packs-${damage}`)]
        : [
            '--cache-from',
            `type=local,src=${directory},mounts=true`,
            '--cache-to',
            `type=local,dest=${directory},mounts=true`,
          ];
    for (const place of damage === 'lost' ? ['registry', 'directory'] : ['directory']) {
      const at = (n: number): Machine => machine(space, `packs-${damage}-${place}-${n}`);
      const fill = context('add a 9000000; add b 70000');
      await at(1).run(...spec(place), fill);
      harm(place, damage, directory);
      const two = await at(2).run('--progress', 'plain', ...spec(place), context('ls -R /cache; add c 10'));
      assert.match(two.stderr, /WARN: cannot read cache mounts from the cache/);
      assert.doesNotMatch(two.stderr, /cannot write/);
      const three = await at(3).run('--progress', 'plain', ...spec(place), context('ls /cache/index/*'));
      assert.doesNotMatch(three.stderr, /WARN/);
      assert.match(three.stderr, /\bc$/m);
      // The machine that has all of it writes what is gone once more.
      harm(place, damage, directory);
      if (place === 'directory') continue;
      const again = await at(3).run('--progress', 'plain', ...spec(place), context('add d 20'));
      assert.doesNotMatch(again.stderr, /cannot write/);
      const four = await at(4).run('--progress', 'plain', ...spec(place), context('ls /cache/index/*'));
      assert.doesNotMatch(four.stderr, /WARN/);
      assert.match(four.stderr, /\bd$/m);
    }
  });

/** Packs alone are neither documents nor gzip. */
function harm(place: string, damage: string, directory: string): void {
  const blobs =
    place === 'registry'
      ? join(stand.registry.directory, 'data/docker/registry/v2/blobs/sha256')
      : join(directory, 'blobs/sha256');
  for (const name of readdirSync(blobs, { recursive: true, encoding: 'utf8' })) {
    const path = join(blobs, name);
    if (!statSync(path).isFile()) continue;
    const bytes = readFileSync(path);
    if (bytes[0] === 0x7b || bytes[0] === 0x1f) continue;
    if (damage === 'lost' && place === 'directory') rmSync(path);
    else if (damage === 'damaged') writeFileSync(path, Buffer.alloc(bytes.byteLength, 'x'));
    else {
      const hex = name.split('/')[1] ?? '';
      const repositories = join(stand.registry.directory, 'data/docker/registry/v2/repositories/mounts');
      for (const repository of readdirSync(repositories))
        rmSync(join(repositories, repository, '_layers/sha256', hex), { recursive: true, force: true });
    }
  }
}

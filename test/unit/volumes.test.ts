import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import { isVolumeName } from '../../src/engine/volume-name.ts';
import { isEmptyVolume, openVolumes, type Volumes } from '../../src/engine/volumes.ts';

let root: string;
let volumes: Volumes;
let containers: Set<string>;
/** Who holds, as owner.ts writes it. */
let owner: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-volumes-'));
  containers = new Set();
  owner = '999999999.1';
  let count = 0;
  volumes = openVolumes({
    root: join(root, 'volumes'),
    host: { now: () => 1e12, unique: () => `${owner}.${(count += 1)}` },
    random: (size) => new Uint8Array(size).fill((count += 1)),
    containerExists: (id) => containers.has(id),
  });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('a volume is created once, and found by its name', () => {
  const made = volumes.create({ name: 'data', labels: { a: '1' } });
  assert.equal(made.mountpoint, join(root, 'volumes/data/_data'));
  assert.deepEqual(volumes.create({ name: 'data', labels: { a: '2' } }), made);
  assert.deepEqual(volumes.list(), [made]);
  assert.deepEqual(volumes.require('data'), made);
  assert.ok(isEmptyVolume(made) && !made.anonymous);
  writeFileSync(join(made.mountpoint, 'f'), '');
  assert.ok(!isEmptyVolume(made));
  assert.throws(
    () => volumes.require('none'),
    (error) => isTsbuildError(error, 'VOLUME_NOT_FOUND'),
  );
});

test('an anonymous volume is named by 64 hex digits', () => {
  const made = volumes.create({});
  assert.match(made.name, /^[0-9a-f]{64}$/);
  assert.ok(made.anonymous);
});

test('names that could lead elsewhere are refused', () => {
  for (const name of ['', '.', '..', 'a/b', '../a', '-a', 'a\0', 'a b', 'x'.repeat(256)])
    assert.ok(!isVolumeName(name), name);
  assert.throws(
    () => volumes.create({ name: '../x' }),
    (error) => isTsbuildError(error, 'USAGE'),
  );
  assert.throws(() => volumes.create({ name: 'x', options: { type: 'nfs' } }), /volume option "type"/);
});

test('a volume is not removed while a container has it', () => {
  containers.add('c1');
  volumes.hold({ name: 'data' }, 'c1');
  assert.deepEqual(volumes.holders('data'), ['c1']);
  assert.throws(
    () => volumes.remove('data'),
    (error) => isTsbuildError(error, 'VOLUME_IN_USE'),
  );
  assert.deepEqual(volumes.prune(() => true).removed, []);
  volumes.release('data', 'c1');
  volumes.remove('data');
  assert.equal(volumes.find('data'), undefined);
  assert.ok(!existsSync(join(root, 'volumes/data')));
});

test('a holder counts while its container exists or its maker lives', () => {
  owner = `${process.pid}.${startTimeOf(process.pid) ?? ''}`;
  volumes.hold({ name: 'data' }, 'making');
  assert.deepEqual(volumes.holders('data'), ['making']);
  owner = '999999999.1';
  volumes.hold({ name: 'other' }, 'gone');
  assert.deepEqual(volumes.holders('other'), []);
  assert.equal(volumes.sweep(), 1);
  volumes.remove('other');
});

test('prune says what it removed', () => {
  const made = volumes.create({ name: 'a' });
  volumes.create({});
  writeFileSync(join(made.mountpoint, 'f'), 'x'.repeat(10000));
  const { removed, freed } = volumes.prune(({ anonymous }) => !anonymous);
  assert.deepEqual(removed, ['a']);
  assert.ok(freed >= 10000);
  assert.equal(volumes.list().length, 1);
});

test('a volume whose removal was killed half way is made anew for who holds it', () => {
  const { mountpoint } = volumes.create({ name: 'data' });
  writeFileSync(join(mountpoint, 'old'), '');
  rmdirSync(join(root, 'volumes/data/holders'));
  containers.add('c1');
  assert.ok(isEmptyVolume(volumes.hold({ name: 'data' }, 'c1')));
  mkdirSync(join(root, 'volumes/.removing/999999999.1.x'), { recursive: true });
  assert.equal(volumes.sweep(), 1);
});

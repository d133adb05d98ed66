import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import type { ContainerConfig } from '../../src/runtime/container.ts';
import { openContainerStore, type ContainerStore } from '../../src/runtime/container-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsbuild-containers-'));
after(() => rmSync(directory, { recursive: true, force: true }));

let count = 0;
function open(random: (size: number) => Uint8Array = randomBytes): ContainerStore {
  const root = join(directory, `${(count += 1)}`);
  return openContainerStore({ root, random, host: hostOf(process.pid) });
}

function hostOf(pid: number): { now(): number; unique(): string } {
  const start = startTimeOf(pid) ?? '0';
  return { now: () => 1, unique: () => `${pid}.${start}.${(count += 1)}` };
}

const NO_ISOLATION: ContainerConfig['isolation'] = {
  mounts: [],
  volumesFrom: [],
  namespaces: {},
  security: {
    capAdd: [],
    capDrop: [],
    privileged: false,
    noNewPrivileges: false,
    seccomp: { kind: 'default' },
    systemPathsUnconfined: false,
    labels: [],
    given: [],
  },
  devices: [],
  deviceRules: [],
  readonlyRoot: false,
  rlimits: [],
  sysctls: {},
  groups: [],
  limits: {},
};

function config({ id, name }: { readonly id: string; readonly name: string }): ContainerConfig {
  return {
    version: 1,
    id,
    name,
    created: `2020-01-01T00:00:00.${String((count += 1)).padStart(3, '0')}Z`,
    image: { id: 'sha256:0', name: 'img' },
    entrypoint: [],
    command: ['true'],
    user: '',
    stdin: 'closed',
    labels: {},
    restart: { name: 'no' },
    autoRemove: false,
    init: false,
    stopSignal: 'SIGTERM',
    stopTimeoutS: 10,
    log: { maxSize: 1, maxFiles: 1 },
    anonymousVolumes: [],
    input: {
      args: ['true'],
      env: [],
      cwd: '/',
      user: { uid: 0, gid: 0, additionalGids: [] },
      home: '/',
      hostname: 'h',
      terminal: false,
      extraHosts: [],
    },
    isolation: NO_ISOLATION,
    network: { kind: 'host' },
    ports: [],
    exposedPorts: [],
    dns: { servers: [], search: [], options: [] },
  };
}

test('a container is found by id, by name, by /name and by a unique beginning of its id', () => {
  const store = open();
  const made = store.create('web', config);
  for (const reference of [made.id, 'web', '/web', made.id.slice(0, 3)])
    assert.equal(store.find(reference)?.id, made.id, reference);
  assert.equal(store.find('we'), undefined);
  assert.equal(store.require('web').state.status, 'created');
  assert.throws(() => store.require('nobody'), /no such container: "nobody"/);
});

test('a name goes before the beginning of an id, and an ambiguous beginning is refused', () => {
  const store = open((size) => Buffer.alloc(size, (count += 1)).fill(0xab, 0, 2));
  const first = store.create('one', config);
  const second = store.create('abab', config);
  assert.equal(store.find('abab')?.id, second.id);
  assert.notEqual(first.id, second.id);
  assert.throws(() => store.find('aba'), /is the beginning of 2 container ids/);
});

test('a name has one owner until it is renamed or removed', () => {
  const store = open();
  const { id } = store.create('web', config);
  assert.throws(
    () => store.create('web', config),
    (error) => isTsbuildError(error, 'CONTAINER_NAME_IN_USE') && error.message.includes(id.slice(0, 12)),
  );
  store.rename(id, 'old');
  const next = store.create('web', config);
  assert.equal(store.find('old')?.id, id);
  store.remove(next.id);
  assert.equal(store.find('web'), undefined);
  store.create('web', config);
});

test('malformed names are refused before anything is made', () => {
  const store = open();
  for (const name of ['', 'a', '-a', 'a/b', '..', 'a b', 'x'.repeat(201), '../x'])
    assert.throws(
      () => store.create(name, config),
      (error) => isTsbuildError(error, 'USAGE'),
      name,
    );
  assert.deepEqual(store.list(), []);
});

test('a random name is taken where none is given, another one where it is in use', () => {
  const store = open((size) => (size === 4 ? Buffer.alloc(size, count % 3) : randomBytes(size)));
  const names = Array.from({ length: 12 }, () => store.create(undefined, config).config.name);
  assert.equal(new Set(names).size, 12);
  assert.match(names[0] ?? '', /^[a-z]+_[a-z]+$/);
});

test('containers are listed newest first', () => {
  const store = open();
  const made = ['aa', 'bb', 'cc'].map((name) => store.create(name, config).id);
  assert.deepEqual(
    store.list().map(({ id }) => id),
    made.reverse(),
  );
});

test('state and config are replaced whole', () => {
  const store = open();
  const { id, config: made } = store.create('web', config);
  store.saveState(id, { status: 'exited', exitCode: 137, oomKilled: true, error: 'e', restartCount: 2 });
  store.save({ ...made, labels: { a: 'b' } });
  const read = store.require('web');
  assert.deepEqual(read.state, {
    status: 'exited',
    exitCode: 137,
    oomKilled: true,
    error: 'e',
    restartCount: 2,
  });
  assert.deepEqual(read.config.labels, { a: 'b' });
  writeFileSync(join(read.directory, 'state.json'), '{"status": "exi');
  assert.equal(store.require('web').state.status, 'created');
});

test('a sweep frees names and directories of dead processes, and leaves those of living ones', () => {
  const store = open();
  const { id } = store.create('web', config);
  const dead = '1.1.1';
  const living = hostOf(process.pid).unique();
  writeFileSync(join(store.root, 'names/gone'), `${'0'.repeat(64)}\n${dead}\n`);
  writeFileSync(join(store.root, 'names/soon'), `${'1'.repeat(64)}\n${living}\n`);
  for (const place of ['creating', 'removing'])
    for (const owner of [dead, living]) mkdirSync(join(store.root, place, owner), { recursive: true });
  assert.throws(() => store.create('soon', config), /already in use/);
  assert.equal(store.sweep(), 3);
  assert.deepEqual(readdirSync(join(store.root, 'names')).sort(), ['soon', 'web']);
  assert.deepEqual(readdirSync(join(store.root, 'creating')), [living]);
  assert.ok(existsSync(store.directoryOf(id)));
});

test('a name that a killed process left is free at once', () => {
  const store = open();
  mkdirSync(join(store.root, 'names'), { recursive: true });
  writeFileSync(join(store.root, 'names/web'), `${'0'.repeat(64)}\n1.1.1\n`);
  assert.equal(store.create('web', config).config.name, 'web');
});

test('removing is idempotent, and leaves nothing', () => {
  const store = open();
  const { id } = store.create('web', config);
  store.remove(id);
  store.remove(id);
  assert.deepEqual(readdirSync(store.root, { recursive: true }).sort(), ['creating', 'names', 'removing']);
});

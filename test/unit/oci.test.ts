import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseImageConfig, parseManifestOrIndex } from '../../src/oci/parse.ts';
import {
  formatPlatform,
  hostPlatform,
  isCompatible,
  parsePlatform,
  selectPlatform,
} from '../../src/oci/platform.ts';
import { familiarName, formatReference, parseReference, withDefaultTag } from '../../src/oci/reference.ts';
import { resolveOwner, resolveRunUser } from '../../src/oci/user.ts';

const HEX = 'a'.repeat(64);

const REFERENCES: readonly (readonly [text: string, full: string])[] = [
  ['busybox', 'docker.io/library/busybox'],
  ['busybox:1', 'docker.io/library/busybox:1'],
  ['team/app', 'docker.io/team/app'],
  ['docker.io/busybox', 'docker.io/library/busybox'],
  ['index.docker.io/team/app', 'docker.io/team/app'],
  ['localhost/app', 'localhost/app'],
  ['localhost:5000/app:v1', 'localhost:5000/app:v1'],
  ['r.example.com/a/b/c', 'r.example.com/a/b/c'],
  ['127.0.0.1:5000/x', '127.0.0.1:5000/x'],
  ['[::1]:5000/x', '[::1]:5000/x'],
  ['UPPER/app', 'UPPER/app'],
  [`app@sha256:${HEX}`, `docker.io/library/app@sha256:${HEX}`],
  [`app:1@sha256:${HEX}`, `docker.io/library/app:1@sha256:${HEX}`],
  ['a__b/c-d.e', 'docker.io/a__b/c-d.e'],
];
for (const [text, full] of REFERENCES)
  test(`${text} is ${full}`, () => assert.equal(formatReference(parseReference(text)), full));

for (const text of [
  '',
  'App',
  'a//b',
  'a:',
  'a:b:c',
  '-a',
  'a/-b',
  'a@sha256:1',
  HEX,
  `r.example.com/${'a'.repeat(256)}`,
  'a b',
  'http://x/y',
  'a:'.concat('x'.repeat(129)),
])
  test(`${JSON.stringify(text.slice(0, 30))} is no reference`, () => {
    assert.throws(
      () => parseReference(text),
      (error) => isTsbuildError(error, 'REFERENCE_INVALID'),
    );
  });

test('the familiar name leads back to the same reference', () => {
  for (const [text] of REFERENCES)
    assert.deepEqual(parseReference(familiarName(parseReference(text))), parseReference(text));
  assert.equal(withDefaultTag(parseReference('a')).tag, 'latest');
  assert.equal(withDefaultTag(parseReference(`a@sha256:${HEX}`)).tag, undefined);
});

test('no text makes the parser throw anything but REFERENCE_INVALID', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', 'Z', '/', ':', '@', '.', '-', '_', '0', '[', ' ') }),
      (text) => {
        try {
          parseReference(text);
        } catch (error) {
          assert.ok(isTsbuildError(error, 'REFERENCE_INVALID'));
        }
      },
    ),
  );
});

test('platforms have one normal form', () => {
  for (const [text, normal] of [
    ['linux/x86_64', 'linux/amd64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['arm64', 'linux/arm64'],
    ['LINUX/AMD64', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
  ] as const)
    assert.equal(formatPlatform(parsePlatform(text)), normal);
  for (const text of ['', 'a/b/c/d', 'linux/', 'li nux/amd64'])
    assert.throws(
      () => parsePlatform(text),
      (error) => isTsbuildError(error, 'PLATFORM_INVALID'),
    );
  assert.equal(formatPlatform(hostPlatform('x64')), 'linux/amd64');
});

function index(...platforms: readonly string[]): Parameters<typeof selectPlatform>[0] {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: platforms.map((text) => {
      const [os = '', architecture = '', variant] = text.split('/');
      return {
        mediaType: 'm',
        digest: digestOf(text),
        size: 1,
        platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
      };
    }),
  };
}

test('the best platform of an index is chosen, attestations never', () => {
  const all = index(
    'unknown/unknown',
    'linux/amd64/v3',
    'linux/arm/v5',
    'linux/amd64',
    'linux/arm/v6',
    'linux/arm64/v8',
  );
  const chosen = (platform: string): string =>
    formatPlatform(selectPlatform(all, parsePlatform(platform)).platform ?? { os: '', architecture: '' });
  assert.equal(chosen('linux/amd64'), 'linux/amd64');
  assert.equal(chosen('linux/arm/v7'), 'linux/arm/v6');
  assert.equal(chosen('linux/arm64'), 'linux/arm64/v8');
  assert.throws(
    () => selectPlatform(all, parsePlatform('linux/s390x')),
    (error) => isTsbuildError(error, 'PLATFORM_NOT_FOUND') && !error.message.includes('unknown'),
  );
  assert.ok(
    !isCompatible(
      { os: 'linux', architecture: 'amd64', variant: 'v3' },
      { os: 'linux', architecture: 'amd64' },
    ),
  );
});

const bytes = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const descriptor = { mediaType: 'x', digest: `sha256:${HEX}`, size: 1 };

const BAD_MANIFESTS: readonly (readonly [name: string, value: unknown, message: RegExp])[] = [
  ['no JSON', '{', /not JSON/],
  ['an array', [], /not a JSON object/],
  ['schema 1', { schemaVersion: 1, fsLayers: [] }, /schema 1/],
  ['both kinds at once', { manifests: [], layers: [] }, /ambiguous/],
  ['neither kind', { schemaVersion: 2 }, /neither/],
  ['a bad digest', { config: { ...descriptor, digest: 'md5:1' }, layers: [] }, /config\.digest/],
  ['a negative size', { config: descriptor, layers: [{ ...descriptor, size: -1 }] }, /layers\[0\]\.size/],
  ['a foreign media type', { mediaType: 'text/plain', config: descriptor, layers: [] }, /media type/],
];
for (const [name, value, message] of BAD_MANIFESTS)
  test(`a manifest with ${name} is refused`, () => {
    assert.throws(
      () => parseManifestOrIndex(bytes(value), 'x'),
      (error) => isTsbuildError(error, 'IMAGE_INVALID') && message.test(error.message),
    );
  });

test('a level of a platform that nobody has is no reason to look for it forever', () => {
  assert.ok(!isCompatible({ os: 'linux', architecture: 'arm64' }, parsePlatform('linux/amd64/v99999999999')));
});

test('a config keeps what it may have and drops the rest', () => {
  const config = parseImageConfig(
    bytes({
      os: 'linux',
      architecture: 'amd64',
      evil: 1,
      config: { Env: ['A=1'], Nope: 1, Volumes: { '/v': {} } },
      rootfs: { type: 'layers', diff_ids: [`sha256:${HEX}`] },
    }),
    'x',
  );
  assert.deepEqual(config.config, { Env: ['A=1'], Volumes: { '/v': {} } });
  assert.ok(!('evil' in config));
  assert.throws(
    () => parseImageConfig(bytes({ config: { Env: [1] }, rootfs: { diff_ids: [] } }), 'x'),
    /config\.Env\[0\]/,
  );
});

const files = {
  passwd: 'root:x:0:0:r:/root:/bin/sh\nbob:x:1000:2000::/home/bob:\nbad line\nneg:x:-1:0::/:\n',
  group: 'root:x:0:\ngrp:x:50:bob,eve\ngrp2:x:51:bob\n',
};

test('USER is looked up as docker does', () => {
  assert.deepEqual(resolveRunUser('', files), { uid: 0, gid: 0, additionalGids: [0], home: '/root' });
  assert.deepEqual(resolveRunUser('bob', files), {
    uid: 1000,
    gid: 2000,
    additionalGids: [2000, 50, 51],
    home: '/home/bob',
  });
  assert.deepEqual(resolveRunUser('bob:grp', files), {
    uid: 1000,
    gid: 50,
    additionalGids: [50],
    home: '/home/bob',
  });
  assert.deepEqual(resolveRunUser('1234', files), { uid: 1234, gid: 0, additionalGids: [0], home: '/' });
  assert.deepEqual(resolveRunUser('5:6', {}), { uid: 5, gid: 6, additionalGids: [6], home: '/' });
  for (const text of ['neg', 'nobody', 'bob:nogrp', '99999999999'])
    assert.throws(
      () => resolveRunUser(text, files),
      (error) => isTsbuildError(error, 'USER_NOT_FOUND'),
    );
});

test('--chown: names, numbers, and names that nobody knows', () => {
  const unknown: string[] = [];
  const owner = (user: string, group?: string): unknown =>
    resolveOwner({ user, ...(group === undefined ? {} : { group }) }, files, (kind, name) =>
      unknown.push(`${kind} ${name}`),
    );
  assert.deepEqual(owner('bob'), { uid: 1000, gid: 2000 });
  assert.deepEqual(owner('bob', ''), { uid: 1000, gid: 0 });
  assert.deepEqual(owner('', 'grp'), { uid: 0, gid: 50 });
  assert.deepEqual(owner('1000'), { uid: 1000, gid: 1000 });
  assert.deepEqual(owner('nobody', 'nogrp'), { uid: 0, gid: 0 });
  assert.deepEqual(unknown, ['user nobody', 'group nogrp']);
  assert.throws(
    () => resolveOwner({ user: 'bob' }, {}, () => undefined),
    (error) => isTsbuildError(error, 'COPY_OWNER_UNKNOWN'),
  );
});

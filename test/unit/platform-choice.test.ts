/** Which image of an index a machine gets. Source: containerd's platforms package, compare.go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Platform } from '../../src/oci/documents.ts';
import { formatPlatform, parsePlatform, selectPlatform } from '../../src/oci/platform.ts';

function entry(platform: Platform, more: Partial<Descriptor> = {}): Descriptor {
  return {
    mediaType: MEDIA_TYPES.manifest,
    digest: digestOf(JSON.stringify([platform, more])),
    size: 1,
    platform,
    ...more,
  };
}

const ATTESTATION = entry(
  { os: 'unknown', architecture: 'unknown' },
  { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
);
const NAMES = [
  'linux/amd64',
  'linux/amd64/v3',
  'linux/arm64',
  'linux/arm/v7',
  'linux/arm/v6',
  'linux/arm/v5',
  'linux/386',
  'linux/riscv64',
  'linux/s390x',
  'windows/amd64',
];
const index = (names: readonly string[], first: readonly Descriptor[] = []): Index => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.index,
  manifests: [...first, ...names.map((name) => entry(parsePlatform(name)))],
});

function chosen(from: Index, wanted: string): string {
  const { platform } = selectPlatform(from, parsePlatform(wanted));
  return platform === undefined ? 'none' : formatPlatform(platform);
}

test('C7: every host gets its own, never a level that it did not ask for', () => {
  for (const [wanted, expected] of [
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v2', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/amd64/v4', 'linux/amd64/v3'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm/v5', 'linux/arm/v5'],
    ['linux/i386', 'linux/386'],
    ['linux/riscv64', 'linux/riscv64'],
    ['linux/s390x', 'linux/s390x'],
    ['windows/amd64', 'windows/amd64'],
  ] as const)
    assert.equal(chosen(index(NAMES), wanted), expected, wanted);
});

test('C7: what is missing is replaced by what runs as well, best first', () => {
  assert.equal(chosen(index(['linux/arm/v5', 'linux/arm/v6']), 'linux/arm/v7'), 'linux/arm/v6');
  assert.equal(chosen(index(['linux/arm/v6', 'linux/arm/v7']), 'linux/arm64'), 'linux/arm/v7');
  assert.equal(chosen(index(['linux/amd64', 'linux/amd64/v2']), 'linux/amd64/v3'), 'linux/amd64/v2');
  for (const [names, wanted] of [
    [['linux/amd64/v3'], 'linux/amd64'],
    [['linux/386'], 'linux/amd64'],
    [['linux/arm/v7'], 'linux/arm/v6'],
    [['linux/arm64'], 'linux/arm/v7'],
  ] as const)
    assert.throws(
      () => chosen(index(names), wanted),
      (error) => isTsbuildError(error, 'PLATFORM_NOT_FOUND') && error.message.includes(names[0]),
    );
});

test('C8: attestations and artifacts are no platform, wherever they stand', () => {
  const artifact = entry({ os: 'linux', architecture: 'amd64' }, { artifactType: 'application/spdx+json' });
  assert.equal(chosen(index(['linux/amd64'], [ATTESTATION, artifact]), 'linux/amd64'), 'linux/amd64');
  const found = selectPlatform(index(['linux/amd64'], [ATTESTATION, artifact]), parsePlatform('linux/amd64'));
  assert.equal(found.artifactType, undefined);
  assert.throws(
    () => chosen(index(['linux/s390x'], [ATTESTATION]), 'linux/amd64'),
    (error) => isTsbuildError(error, 'PLATFORM_NOT_FOUND') && !error.message.includes('unknown'),
  );
});

test('C7: the first of two equals counts', () => {
  const twice = index(['linux/amd64', 'linux/amd64']);
  assert.equal(selectPlatform(twice, parsePlatform('linux/amd64')), twice.manifests[0]);
});

test('C7: os.version by its beginning, os.features only where they are asked for', () => {
  const windows = (version: string, features?: readonly string[]): Descriptor =>
    entry({
      os: 'windows',
      architecture: 'amd64',
      'os.version': version,
      ...(features === undefined ? {} : { 'os.features': features }),
    });
  const [plain, old, current] = [
    windows('10.0.20348.1', ['win32k']),
    windows('10.0.17763.4851'),
    windows('10.0.20348.2'),
  ];
  const all = index([], [plain, old, current]);
  assert.equal(selectPlatform(all, parsePlatform('windows/amd64')), old);
  assert.equal(selectPlatform(all, parsePlatform('windows(10.0.20348)/amd64')), current);
  assert.equal(selectPlatform(all, parsePlatform('windows(10.0.20348+win32k)/amd64')), plain);
  for (const missing of ['windows(10.0.2034)/amd64', 'windows(10.0.1)/amd64'])
    assert.throws(
      () => selectPlatform(all, parsePlatform(missing)),
      (error) => isTsbuildError(error, 'PLATFORM_NOT_FOUND'),
      missing,
    );
  for (const bad of ['windows(/amd64', 'windows()x/amd64', '(1)/amd64', 'linux/amd64(1)'])
    assert.throws(
      () => parsePlatform(bad),
      (error) => isTsbuildError(error, 'PLATFORM_INVALID'),
      bad,
    );
});

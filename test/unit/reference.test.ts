/** C17: what is a reference, and what it means. The cases are those that distribution's own tests decide. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { familiarName, formatReference, parseReference } from '../../src/oci/reference.ts';

const F64 = 'f'.repeat(64);

/** [text, registry, repository, tag, digest] */
const GOOD: readonly (readonly [string, string, string, (string | undefined)?, string?])[] = [
  ['test_com', 'docker.io', 'library/test_com'],
  ['test.com:tag', 'docker.io', 'library/test.com', 'tag'],
  ['test.com:5000', 'docker.io', 'library/test.com', '5000'],
  ['test.com/repo:tag', 'test.com', 'repo', 'tag'],
  ['test:5000/repo', 'test:5000', 'repo'],
  ['test:5000/repo:tag', 'test:5000', 'repo', 'tag'],
  [`test:5000/repo@sha256:${F64}`, 'test:5000', 'repo', undefined, `sha256:${F64}`],
  [`test:5000/repo:tag@sha256:${F64}`, 'test:5000', 'repo', 'tag', `sha256:${F64}`],
  ['lowercase:Uppercase', 'docker.io', 'library/lowercase', 'Uppercase'],
  ['sub-dom1.foo.com/bar/baz/quux', 'sub-dom1.foo.com', 'bar/baz/quux'],
  ['sub-dom1.foo.com/bar/baz/quux:some-long-tag', 'sub-dom1.foo.com', 'bar/baz/quux', 'some-long-tag'],
  [
    'b.gcr.io/test.example.com/my-app:test.example.com',
    'b.gcr.io',
    'test.example.com/my-app',
    'test.example.com',
  ],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com', 'myimage', 'xn--n3h.com'],
  ['foo_bar.com:8080', 'docker.io', 'library/foo_bar.com', '8080'],
  ['foo/foo_bar.com:8080', 'docker.io', 'foo/foo_bar.com', '8080'],
  ['192.168.1.1', 'docker.io', 'library/192.168.1.1'],
  ['192.168.1.1:tag', 'docker.io', 'library/192.168.1.1', 'tag'],
  ['192.168.1.1:5000', 'docker.io', 'library/192.168.1.1', '5000'],
  ['192.168.1.1/repo', '192.168.1.1', 'repo'],
  ['192.168.1.1:5000/repo:5050', '192.168.1.1:5000', 'repo', '5050'],
  ['[2001:db8::1]/repo', '[2001:db8::1]', 'repo'],
  ['[2001:db8:1:2:3:4:5:6]/repo:tag', '[2001:db8:1:2:3:4:5:6]', 'repo', 'tag'],
  ['[2001:db8::1]:5000/repo', '[2001:db8::1]:5000', 'repo'],
  [`[2001:db8::1]:5000/repo:tag@sha256:${F64}`, '[2001:db8::1]:5000', 'repo', 'tag', `sha256:${F64}`],
  ['[2001:db8::]:5000/repo', '[2001:db8::]:5000', 'repo'],
  ['[::1]:5000/repo', '[::1]:5000', 'repo'],
  ['docker/docker', 'docker.io', 'docker/docker'],
  ['library/debian', 'docker.io', 'library/debian'],
  ['debian', 'docker.io', 'library/debian'],
  ['docker.io/debian', 'docker.io', 'library/debian'],
  ['index.docker.io/debian', 'docker.io', 'library/debian'],
  ['index.docker.io/docker/docker', 'docker.io', 'docker/docker'],
  ['127.0.0.1:5000/library/debian', '127.0.0.1:5000', 'library/debian'],
  ['127.0.0.1:5000/debian', '127.0.0.1:5000', 'debian'],
  ['localhost/debian', 'localhost', 'debian'],
  [
    'thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev',
    'docker.io',
    'library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev',
  ],
  [`docker.io/${'1a'.repeat(32)}`, 'docker.io', `library/${'1a'.repeat(32)}`],
  ['Docker/docker', 'Docker', 'docker'],
  ['DOCKER/docker', 'DOCKER', 'docker'],
  ['docker---rules/docker', 'docker.io', 'docker---rules/docker'],
  ['d/docker', 'docker.io', 'd/docker'],
  ['dock__er/docker', 'docker.io', 'dock__er/docker'],
  ['store/foo/bar', 'docker.io', 'store/foo/bar'],
  ['docker.io/library/foo/bar', 'docker.io', 'library/foo/bar'],
  ['test-com:8080/foo', 'test-com:8080', 'foo'],
  ['xn--n3h.com:18080/foo', 'xn--n3h.com:18080', 'foo'],
  [`example.com/${'a'.repeat(255)}`, 'example.com', 'a'.repeat(255)],
];

const BAD: readonly string[] = [
  '',
  ':justtag',
  `@sha256:${F64}`,
  `repo@sha256:${'f'.repeat(34)}`,
  `validname@invaliddigest:${F64}`,
  `repo@sha256:${'F'.repeat(64)}`,
  'Uppercase:tag',
  'test:5000/Uppercase/lowercase:tag',
  `${'a/'.repeat(128)}a:tag`,
  'aa/asdf$$^/aa',
  '[2001:db8::1]',
  '[2001:db8::1]:5000',
  '[2001:db8::1]:tag',
  '[fe80::1%eth0]:5000/repo',
  '[fe80::1%@invalidzone]:5000/repo',
  '[2001:db8:3:4::192.0.2.33]:5000/debian',
  'fc00::1:5000/debian',
  'https://github.com/docker/docker',
  'docker/Docker',
  '-docker',
  '-docker/docker',
  '-docker.io/docker/docker',
  'docker///docker',
  'docker.io/docker/Docker',
  '1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a',
  'docker-/docker',
  '____/____',
  '_docker/_docker',
  'dock..er/docker',
  'dock_.er/docker',
  'dock-.er/docker',
  'docker/',
  `${'this_is_too_long_'.repeat(17)}/docker`,
  'busybox:-foo',
  `busybox:${'t'.repeat(129)}`,
  'busybox@foo',
  'a b',
  'a\n',
];

test('C17: what is a reference is taken apart', () => {
  for (const [text, registry, repository, tag, digest] of GOOD) {
    const parsed = parseReference(text);
    assert.deepEqual(
      [parsed.registry, parsed.repository, parsed.tag, parsed.digest],
      [registry, repository, tag, digest],
      text,
    );
  }
});

test('C17: what is none is refused', () => {
  for (const text of BAD)
    assert.throws(
      () => parseReference(text),
      (error) => isTsbuildError(error, 'REFERENCE_INVALID'),
      JSON.stringify(text),
    );
});

test('C17: what people write is what they are shown', () => {
  for (const [text, shown] of [
    ['docker.io/library/ubuntu', 'ubuntu'],
    ['index.docker.io/fooo/bar', 'fooo/bar'],
    ['library/foo/bar', 'library/foo/bar'],
    ['example.com:8000/privatebase', 'example.com:8000/privatebase'],
    ['Foo/bar', 'Foo/bar'],
    [`busybox:latest@sha256:${F64}`, `busybox:latest@sha256:${F64}`],
  ] as const)
    assert.equal(familiarName(parseReference(text)), shown);
});

test('C17: digests are by sha256 or sha512, of their length; others are refused by name', () => {
  const named = `xn--7o8h.example/image:1@sha512:${'f'.repeat(128)}`;
  assert.equal(formatReference(parseReference(named)), named);
  for (const digest of [
    `sha512:${F64}`,
    `sha256:${'f'.repeat(128)}`,
    `sha384:${'f'.repeat(96)}`,
    `sha256:${'F'.repeat(64)}`,
  ])
    assert.throws(() => parseReference(`a@${digest}`), /not a digest by sha256 or sha512/, digest);
});

test('C17: a reference survives being written and read', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,5}(?:[._-][a-z0-9]{1,4})?$/);
  fc.assert(
    fc.property(
      fc.constantFrom('', 'r.example/', 'localhost:5000/', '[::1]:1/', 'A/'),
      fc.array(part, { minLength: 1, maxLength: 4 }),
      fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}$/)),
      (registry, parts, tag) => {
        const text = `${registry}${parts.join('/')}${tag === null ? '' : `:${tag}`}`;
        // A single name of hex digits looks like an image id; a first part with a dot is a registry.
        const parsed = parseReference(text);
        assert.deepEqual(parseReference(formatReference(parsed)), parsed);
        assert.deepEqual(parseReference(familiarName(parsed)), parsed);
      },
    ),
    { numRuns: 300 },
  );
});

test('C17: nonsense is refused with our own error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseReference(text);
      } catch (error) {
        assert.ok(isTsbuildError(error, 'REFERENCE_INVALID'));
      }
    }),
    { numRuns: 500 },
  );
});

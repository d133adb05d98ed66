/** `--cache-from` and `--cache-to` as people write them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseCacheDestinations, parseCacheSources } from '../../src/cli/commands/cache-flag.ts';

const hub = (repository: string, tag = 'latest'): object => ({ registry: 'docker.io', repository, tag });

function refuses(work: () => unknown, message: RegExp, hint = /./): void {
  assert.throws(work, (error) => {
    assert.ok(isTsbuildError(error, 'USAGE'));
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint);
    return true;
  });
}

test('a reference alone is a registry, several by commas', () => {
  assert.deepEqual(parseCacheSources(['me/app:main,me/app'], '/w'), [
    { kind: 'registry', reference: hub('me/app', 'main'), mounts: false },
    { kind: 'registry', reference: hub('me/app'), mounts: false },
  ]);
  assert.deepEqual(parseCacheDestinations(['r.example:5000/cache'], '/w'), [
    {
      kind: 'registry',
      reference: { registry: 'r.example:5000', repository: 'cache', tag: 'latest' },
      mode: 'min',
      form: { compression: 'gzip' },
      mounts: false,
    },
  ]);
});

test("docker's words, those that change nothing here too", () => {
  assert.deepEqual(
    parseCacheDestinations(
      [
        'type=registry,ref=me/c:x,mode=max,oci-mediatypes=true,image-manifest=true,ignore-error=true,mounts=true',
      ],
      '/w',
    ),
    [
      {
        kind: 'registry',
        reference: hub('me/c', 'x'),
        mode: 'max',
        form: { compression: 'gzip' },
        mounts: true,
      },
    ],
  );
  assert.deepEqual(parseCacheDestinations(['type=local,dest=d,mode=min'], '/w'), [
    {
      kind: 'local',
      directory: '/w/d',
      tag: 'latest',
      mode: 'min',
      form: { compression: 'gzip' },
      mounts: false,
    },
  ]);
  assert.deepEqual(parseCacheSources(['type=local,src=/d,tag=x', 'type=inline,ref=me/app:1'], '/w'), [
    { kind: 'local', directory: '/d', tag: 'x', mounts: false },
    { kind: 'registry', reference: hub('me/app', '1'), mounts: false },
  ]);
});

test('the cache that travels in the image names no place', () => {
  assert.deepEqual(parseCacheDestinations(['type=inline', 'type=inline,mode=min'], '/w'), [
    { kind: 'inline' },
    { kind: 'inline' },
  ]);
  refuses(() => parseCacheDestinations(['type=inline,mode=max'], '/w'), /its own layers/, /mode=min/);
  refuses(() => parseCacheDestinations(['type=inline,ref=me/app'], '/w'), /unknown field "ref"/);
});

test('what is not understood is an error that says what to write', () => {
  refuses(
    () => parseCacheSources(['type=gha,scope=x'], '/w'),
    /invalid --cache-from "type=gha,scope=x": the type "gha" is not supported/,
    /registry, local or inline/,
  );
  refuses(() => parseCacheDestinations(['type=s3,bucket=x'], '/w'), /"s3" is not supported/);
  refuses(() => parseCacheSources(['type=registy,ref=x'], '/w'), /unknown type "registy"/, /type=registry/);
  refuses(() => parseCacheSources(['ref=x'], '/w'), /type is missing/);
  refuses(() => parseCacheSources(['type=registry'], '/w'), /ref is missing/);
  refuses(() => parseCacheSources(['type=local,dest=x'], '/w'), /unknown field "dest"|src is missing/);
  refuses(
    () => parseCacheDestinations(['type=registry,ref=x,mod=max'], '/w'),
    /unknown field "mod"/,
    /did you mean mode/,
  );
  refuses(
    () => parseCacheDestinations(['type=registry,ref=x,mode=all'], '/w'),
    /unknown mode "all"/,
    /min or max/,
  );
  refuses(
    () => parseCacheDestinations(['type=registry,ref=x,mode=min,mode=max'], '/w'),
    /mode is given twice/,
  );
  refuses(
    () => parseCacheDestinations(['type=registry,ref=x,ignore-error=false'], '/w'),
    /ignore-error is true here in any case/,
  );
  refuses(() => parseCacheDestinations(['me/UPPER'], '/w'), /lowercase/);
  refuses(() => parseCacheSources([`me/app@sha256:${'a'.repeat(64)}`], '/w'), /named by a tag/);
  refuses(() => parseCacheDestinations(['type=local,dest=x,tag=../y'], '/w'), /no tag/);
});

/** `tsbuild doctor` on this machine, which can do what the other tests need. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
});
after(() => space[Symbol.dispose]());

test('doctor names rights, kernel, storage driver with its reason, and cgroups; nothing stays mounted', () => {
  const { stdout } = space.ok(['doctor']);
  assert.match(stdout, /^ok {7}rights {11}root\n/);
  assert.match(stdout, /\n(?:ok|limited) +kernel +Linux \d+\.\d+/);
  assert.match(stdout, /\nok +storage driver +(?:erofs: mounts layers from|overlay: erofs cannot be used: )/);
  assert.match(stdout, /\n(?:ok|limited) +cgroups +v[12]/);
  assert.match(stdout, /\nok +state root +.*state: .* free\n/);
  assert.deepEqual(leftovers(space.root), []);
  const { findings } = JSON.parse(space.ok(['doctor', '--format', 'json']).stdout) as {
    readonly findings: readonly { readonly subject: string; readonly state: string }[];
  };
  assert.ok(findings.every(({ state }) => state !== 'missing'));
});

test('doctor is no build context, also where a directory has that name', () => {
  const context = space.context('doctor', { Dockerfile: 'FROM scratch\nCOPY x /x\n', x: '' });
  const { stdout } = space.ok(['doctor'], { cwd: join(context, '..') });
  assert.match(stdout, /storage driver/);
  assert.equal(existsSync(join(space.root, 'images')), false);
});

/** The cgroup tests of this machine once more, on v2 and on v1, in user-mode Linux; and what v2 alone has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guestMissing, runInGuest } from './machine.ts';

const missing = guestMissing();

const TAP = 'node --test --test-concurrency=1 --test-reporter=tap';

async function passes(script: string, cgroup: 'v1' | 'v2'): Promise<void> {
  const guest = await runInGuest(script, { cgroup, disk: 64, timeoutMs: 280_000 });
  assert.equal(guest.status, 0, guest.console);
  assert.match(guest.output, /^# fail 0$/m);
}

const options = { skip: missing ?? false, timeout: 300_000 };

test('limits, devices, freezer and removal on cgroup v2', options, () =>
  passes(
    `TMPDIR=/mnt ${TAP} build/test/integration/cgroup-limits.test.js build/test/vm/guest/*.test.js`,
    'v2',
  ),
);

test('build steps on cgroup v2', options, () =>
  passes(
    `${TAP} --test-name-pattern='beyond its memory|disk of the host' build/test/e2e/limits.test.js`,
    'v2',
  ),
);

test('the same on cgroup v1 without a v2 hierarchy beside it', options, () =>
  passes(`TMPDIR=/mnt ${TAP} build/test/integration/cgroup-limits.test.js`, 'v1'),
);

/** The cgroup tests of this machine once more, on cgroup v2, in user-mode Linux; and what v2 alone has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guestMissing, runInGuest } from './machine.ts';

const missing = guestMissing();

test('limits, devices, freezer and removal on cgroup v2', {
  skip: missing ?? false,
  timeout: 300_000,
}, async () => {
  const guest = await runInGuest(
    'TMPDIR=/mnt node --test --test-concurrency=1 --test-reporter=tap build/test/integration/cgroup-limits.test.js build/test/vm/guest/*.test.js',
    { cgroup: 'v2', disk: 64, timeoutMs: 240_000 },
  );
  assert.equal(guest.status, 0, guest.console);
  assert.match(guest.output, /^# fail 0$/m);
});

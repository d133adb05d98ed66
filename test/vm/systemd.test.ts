/** The systemd driver, with a systemd in user-mode Linux. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { guestMissing, runInGuest } from './machine.ts';

const missing =
  guestMissing() ??
  ['/lib/systemd/systemd', '/usr/bin/dbus-daemon']
    .filter((path) => !existsSync(path))
    .map((path) => `${path} is not installed`)[0];

test('scopes of systemd', { skip: missing ?? false, timeout: 300_000 }, async () => {
  const guest = await runInGuest(
    'sh test/vm/systemd.sh node --test --test-concurrency=1 --test-reporter=tap build/test/vm/guest-systemd/scope.test.js build/test/vm/guest-systemd/oci.test.js',
    { cgroup: 'v2', timeoutMs: 240_000 },
  );
  assert.equal(guest.status, 0, guest.console);
  assert.match(guest.output, /^# fail 0$/m);
});

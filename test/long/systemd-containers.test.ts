/** Containers and builds with the systemd driver, with a systemd in user-mode Linux. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { guestMissing, runInGuest } from '../vm/machine.ts';

const missing =
  guestMissing() ??
  ['/lib/systemd/systemd', '/usr/bin/dbus-daemon']
    .filter((path) => !existsSync(path))
    .map((path) => `${path} is not installed`)[0];

test('containers in scopes of systemd', { skip: missing ?? false, timeout: 1_200_000 }, async () => {
  const guest = await runInGuest(
    'sh test/vm/systemd.sh node --test --test-concurrency=1 --test-reporter=tap build/test/vm/guest-systemd/containers.test.js',
    { cgroup: 'v2', timeoutMs: 1_140_000 },
  );
  assert.equal(guest.status, 0, guest.console);
  assert.match(guest.output, /^# fail 0$/m);
});

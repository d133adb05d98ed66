/** A machine that loses its power after a build, and what its disk is worth then. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../suites/layer-fixture.ts';
import { guestMissing, runInGuest } from './machine.ts';

const MKE2FS = '/sbin/mke2fs';
const missing = guestMissing() ?? (existsSync(MKE2FS) ? undefined : `${MKE2FS} is not installed`);

/*
 * The disk writes 2 MB a second, and its journal is written each second without waiting for contents: a new name is there
 * after a crash, and what it is of is not.
 */
const PREPARE = `
  umount /mnt && mount -t ext4 -o data=writeback,commit=1 /dev/ubda /mnt
  build() { node dist/cli.js build --root /mnt/root "$@"; }
  layers() { find /mnt/root/layers/sha256 -name '*.tar' | while read -r tar; do
    name=$(basename "$(dirname "$tar")")$(basename "$tar" .tar)
    [ "$(sha256sum <"$tar" | cut -d ' ' -f 1)" = "$name" ] && echo "whole $name" || echo "torn $name"
  done; }
  notes() { find /mnt/root/layers/unsynced -type f | wc -l; }
  context() { mkdir "/tmp/$1"; seq "$2" >"/tmp/$1/numbers"; printf 'FROM scratch\\nCOPY numbers /\\n' >"/tmp/$1/Dockerfile"; touch -d @1000000000 "/tmp/$1/numbers"; }
  context small 1000
  context large 3500000`;

test('a layer that the disk did not have when the power failed is made again, an earlier one stays', {
  skip: missing ?? false,
  timeout: 240_000,
}, async () => {
  using temporary = temporaryDirectory();
  const disk = join(temporary.path, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, 256 << 20);
  assert.equal(spawnSync(MKE2FS, ['-q', '-t', 'ext4', '-F', disk]).status, 0);
  const options = { cgroup: 'v2', memory: 2048, timeoutMs: 100_000, disk } as const;

  const { console: first } = await runInGuest(
    `${PREPARE}
    build -q -t small /tmp/small
    while [ "$(notes)" != 0 ]; do sleep 0.1; done
    echo +io >/sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/slow &&
      echo "$(cat /sys/block/ubda/dev) wbps=2000000" >/sys/fs/cgroup/slow/io.max || exit 1
    began=$(date +%s)
    sh -c 'echo $$ >/sys/fs/cgroup/slow/cgroup.procs; exec node dist/cli.js build --root /mnt/root -q -t large /tmp/large'
    echo "took $(($(date +%s) - began)) s, $(notes) notes"
    sleep 3
    echo "at the end $(notes) notes"
    echo o >/proc/sysrq-trigger
    sleep 60`,
    options,
  );
  const took = /^took (\d+) s, 1 notes$/m.exec(first)?.[1];
  // The layer has 27 MB.
  assert.ok(took !== undefined && Number(took) < 12, first);
  assert.match(first, /^at the end 1 notes$/m);

  const second = await runInGuest(
    `${PREPARE}
    layers
    echo --- && node dist/cli.js images --root /mnt/root >/dev/null && layers
    echo --- && build -t small /tmp/small
    echo --- && build -t large /tmp/large
    echo --- && layers
    build -q -o /tmp/out /tmp/large >/dev/null && cmp /tmp/out/numbers /tmp/large/numbers &&
      node dist/cli.js system check --root /mnt/root`,
    options,
  );
  assert.equal(second.status, 0, second.console);
  const [before = '', trusted = '', small = '', large = '', after = ''] = second.output.split(/^---\n/m);
  assert.deepEqual(before.match(/^(whole|torn)/gm)?.sort(), ['torn', 'whole'], second.console);
  // The record may be lost as well, which alone would have it made again.
  assert.deepEqual(trusted.match(/^(whole|torn)/gm), ['whole']);
  assert.match(small, /\(0 executed, 1 cached\)/);
  assert.match(large, /\(1 executed, 0 cached\)/);
  assert.deepEqual(after.match(/^(whole|torn)/gm), ['whole', 'whole']);
  assert.match(after, /no damage/);
});

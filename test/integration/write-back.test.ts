import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { locateNative } from '../../native/locate.ts';
import { temporaryDirectory, writtenBack } from '../suites/layer-fixture.ts';

test('notes go when their file system has been written, others stay, and one that has gone is no error', async () => {
  using temporary = temporaryDirectory();
  const [mine = '', theirs = '', gone = ''] = ['mine', 'theirs', 'gone'].map((name) =>
    join(temporary.path, name),
  );
  for (const note of [mine, theirs]) writeFileSync(note, '');
  await writtenBack([gone, mine]);
  assert.deepEqual([existsSync(mine), existsSync(theirs)], [false, true]);
});

test('a write-back that waits does so for SIGTERM no longer, and is not ended by it', async () => {
  using temporary = temporaryDirectory();
  const note = join(temporary.path, 'note');
  const list = join(temporary.path, 'list');
  writeFileSync(note, '');
  writeFileSync(list, `${note}\0`);
  const fd = openSync(list, 'r');
  const child = spawn(locateNative('tsbuild-launch'), ['write-back', '60000'], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
  });
  closeSync(fd);
  const ended = once(child, 'exit');
  // It has begun to wait when it has a session of its own.
  const session = (): string | undefined => readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(' ')[5];
  while (session() !== `${child.pid}`) await sleep(5);
  await sleep(50);
  assert.ok(existsSync(note));
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.ok(!existsSync(note));
});

test('a list that is none is refused', async () => {
  using temporary = temporaryDirectory();
  const [note, list] = [join(temporary.path, 'note'), join(temporary.path, 'list')];
  writeFileSync(note, '');
  writeFileSync(list, note);
  const fd = openSync(list, 'r');
  const child = spawn(locateNative('tsbuild-launch'), ['write-back', '0'], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
  });
  closeSync(fd);
  assert.notEqual((await once(child, 'exit'))[0], 0);
  assert.ok(existsSync(note));
});

/** Attacks of a running container on `exec -u`: it may have put anything at its /etc/passwd meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importBusybox, openWorkspace } from './fixture.ts';

test('CVE-2026-30892: exec -u takes neither numbers that are none nor a passwd that is none', {
  timeout: 300_000,
}, () => {
  using space = openWorkspace();
  importBusybox(space);
  space.ok(['run', '-d', '--name', 'one', '--network', 'none', 'bb:1', 'sleep', '1000']);
  const change = (script: string): void => void space.ok(['exec', 'one', 'sh', '-c', script]);
  const id = (user: string): ReturnType<typeof space.tsbuild> =>
    space.tsbuild(['exec', '-u', user, 'one', 'id', '-u']);
  change('cp /etc/passwd /etc/good; echo "evil:x:1234:1234::/:/bin/sh" >> /etc/passwd');
  assert.equal(id('evil').stdout, '1234\n', 'its own passwd counts');
  assert.equal(id('4321').stdout, '4321\n');
  // What would be root's number where it is cut to 32 bits, or read in part.
  for (const user of ['4294967296', '4294967295', '-1', '0x0', '1e1', '1000x', ' 0', '00000000000', '٠'])
    assert.notEqual(id(user).code, 0, JSON.stringify(user));
  for (const line of [
    '4294967296:0',
    '-1:0',
    ':0',
    '0x0:0',
    ' 0: 0',
    '99999999999999999999:0',
    '0:4294967296',
  ]) {
    change(`cp /etc/good /etc/passwd; echo 'evil:x:${line}::/:/bin/sh' >> /etc/passwd`);
    assert.notEqual(id('evil').code, 0, line);
  }
  // `id` would read the passwd itself.
  const runs = (user: string): boolean => space.tsbuild(['exec', '-u', user, 'one', 'true']).code === 0;
  const forms: Readonly<Record<string, string>> = {
    fifo: 'mkfifo /etc/passwd',
    zero: 'ln -s /dev/zero /etc/passwd',
    node: 'mknod /etc/passwd c 1 5',
    huge: 'echo "evil:x:0:0::/:/bin/sh" > /etc/passwd; truncate -s 3M /etc/passwd',
    'the root of a process': 'ln -s /proc/1/root/etc/good /etc/passwd',
    directory: 'mkdir /etc/passwd',
    loop: 'ln -s passwd /etc/passwd',
  };
  change('echo "evil:x:0:0::/:/bin/sh" >> /etc/good');
  for (const [name, make] of Object.entries(forms)) {
    change(`rm -rf /etc/passwd; ${make}`);
    assert.equal(runs('evil'), false, name);
    if (name !== 'huge' && name !== 'loop') assert.equal(runs('4321'), true, `${name}: a number needs none`);
  }
  change('rm -rf /etc/passwd; cp /etc/good /etc/passwd');
  assert.equal(runs('evil'), true);
  space.ok(['rm', '-f', 'one']);
});

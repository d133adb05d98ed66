/** Layers that are mounted from their tars: every way in which a kernel mounts them, here and in containers. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LayerImage, Mount } from '../../native/mount.ts';
import { closeImage } from '../../native/overlay.ts';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { indexTars } from '../../snapshotter/tar-calls.ts';
import { EMPTY_ROOT } from '../../snapshotter/root-attributes.ts';
import { describeTree } from '../suites/layer-fixture.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

const WAYS = [
  { device: 'file', attached: false },
  { device: 'file', attached: true },
  { device: 'loop', attached: false },
  { device: 'loop', attached: true },
] as const;

/** Loop devices and mounts of what lies below a directory. */
function usersOf(directory: string): readonly string[] {
  const devices = execFileSync('losetup', ['-l', '-n', '-O', 'BACK-FILE'], { encoding: 'utf8' });
  return [...devices.split('\n'), ...readFileSync('/proc/self/mounts', 'utf8').split('\n')].filter((line) =>
    line.includes(directory),
  );
}

describe('images of layers', () => {
  let box: Sandbox;
  let directory: string;
  let base: { readonly index: string; readonly tars: string[] };
  let top: { readonly index: string; readonly tars: string[] };

  async function imageOf(name: string, root: string): Promise<{ index: string; tars: string[] }> {
    // A name that is longer than one value of fsconfig(2).
    const place = join(directory, name, 'x'.repeat(200), 'y'.repeat(100));
    mkdirSync(place, { recursive: true });
    const [index, tar] = [join(place, 'index'), join(place, 'tar')];
    execFileSync('tar', ['-c', '-f', tar, '--sort=name', '-C', root, '.']);
    const diffID = digestOf(readFileSync(tar)) as DiffID;
    await indexTars({ output: index, tars: [{ path: tar, diffID, verify: true }], root: EMPTY_ROOT });
    return { index, tars: [tar] };
  }

  /** Of the base. */
  let files: string[];
  before(async () => {
    box = openSandbox();
    files = describeTree([{ kind: 'bind', source: box.root, readonly: true }]);
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-images-'));
    chmodSync(directory, 0o755);
    base = await imageOf('base', box.root);
    const small = join(directory, 'small');
    mkdirSync(join(small, 'etc'), { recursive: true });
    execFileSync('sh', ['-c', 'echo top > etc/top; mknod etc/passwd c 0 0'], { cwd: small });
    rmSync(join(small, 'etc', 'passwd'));
    top = await imageOf('top', small);
  });
  after(async () => {
    await box.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function writable(name: string, lower: readonly (LayerImage | string)[]): Mount {
    const at = join(directory, 'upper', name);
    const [upper, work] = [join(at, 'fs'), join(at, 'work')];
    for (const path of [upper, work]) mkdirSync(path, { recursive: true });
    return { kind: 'overlay', lower, upper, work };
  }

  for (const way of WAYS) {
    const how = `${way.device}${way.attached ? ', attached' : ''}`;
    const images = (): LayerImage[] => [top, base].map((image) => ({ ...image, ...way }));

    test(`are looked into by this process (${how})`, () => {
      const before = usersOf(directory);
      const [one, other] = images();
      assert.ok(one !== undefined && other !== undefined);
      const whole = describeTree([{ kind: 'overlay', lower: [one, other] }]);
      assert.ok(whole.some((line) => line.startsWith('etc/top file')));
      const alone = describeTree([{ kind: 'overlay', lower: [other] }]);
      assert.deepEqual(alone, files);
      for (const { index } of [one, other]) closeImage(index);
      assert.deepEqual(usersOf(directory), before);
    });

    test(`are the root of several containers (${how})`, async () => {
      const script =
        'cat /etc/top; echo new > /etc/top; cat /etc/top; ls /bin | wc -l; grep -c erofs /proc/mounts';
      const runs = ['a', 'b'].map((name) =>
        box.sh(script, { mounts: [writable(`${how}-${name}`, images())] }),
      );
      for (const { stdout, stderr } of await Promise.all(runs))
        assert.deepEqual(
          [stdout.split('\n').map((line) => line.trim()), stderr],
          [['top', 'new', `${readdirSync(join(box.root, 'bin')).length}`, '0', ''], ''],
        );
      assert.equal(readFileSync(join(directory, 'upper', `${how}-a`, 'fs/etc/top'), 'utf8'), 'new\n');
    });

    test(`are mounted into a container, one alone and several (${how})`, async () => {
      const part = (lower: readonly LayerImage[], target: string) =>
        ({
          kind: 'assembled',
          mounts: [{ kind: 'overlay', lower }],
          source: '/etc',
          target,
          readonly: true,
        }) as const;
      const [one] = images();
      assert.ok(one !== undefined);
      const { stdout, stderr } = await box.sh('ls /one /both; echo x > /one/x', {
        volumes: [part([one], '/one'), part(images(), '/both')],
      });
      assert.match(stdout, /^\/both:\npasswd\ntop\n\n\/one:\ntop\n$/);
      assert.match(stderr, /Read-only file system/);
    });
  }

  test('have other ids in a container whose ids are mapped', async () => {
    const uids = [{ inside: 0, outside: 200_000, size: 65_536 }];
    const mount = writable('mapped', [
      { ...top, device: 'file', attached: false },
      { ...base, device: 'file', attached: false },
    ]);
    const spec = box.spec(['sh', '-c', 'stat -c "%u %g" /etc/top /bin; echo mine > /mine'], {
      mounts: [mount],
    });
    const { stdout, stderr } = await box.run({
      ...spec,
      namespaces: { user: 'new' },
      idMaps: { uids, gids: uids },
      root: { ...spec.root, idMaps: { uids, gids: uids } },
    });
    assert.deepEqual([stdout, stderr], ['0 0\n0 0\n', '']);
    assert.equal(statSync(join(directory, 'upper/mapped/fs/mine')).uid, 0);
  });

  test('leave nothing when who looked into them is killed', async () => {
    const own = await imageOf('killed', box.root);
    const script = `
      const { openOverlayView } = await import(process.argv[1]);
      openOverlayView(JSON.parse(process.argv[2]));
      const { execFileSync } = await import('node:child_process');
      process.stdout.write(execFileSync('losetup', ['-l', '-n', '-O', 'BACK-FILE']));
      setInterval(() => {}, 1000);`;
    const lower = [{ ...own, device: 'loop', attached: false }, box.root];
    const url = new URL('../../native/overlay.js', import.meta.url).href;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, url, JSON.stringify(lower)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(child, 'exit');
    let said = '';
    child.stdout.on('data', (data: Buffer) => (said += data.toString()));
    for (let waited = 0; !said.includes(own.index) && waited < 30_000; waited += 20) await sleep(20);
    child.kill('SIGKILL');
    await gone;
    assert.ok(said.includes(own.index), said);
    // The kernel takes loop devices down a moment later.
    for (let waited = 0; usersOf(own.index).length > 0 && waited < 30_000; waited += 100) await sleep(100);
    assert.deepEqual(usersOf(join(directory, 'killed')), []);
  });
});

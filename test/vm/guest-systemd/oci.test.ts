/** The OCI command line with --systemd-cgroup: create, start, exec, update, delete. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeBusyboxRoot } from '../../integration/runtime-fixture.ts';
import { packageRoot } from '../machine.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsbuild-oci-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** A container has its creator's standard streams: nobody may wait for their end. */
const run = (stdout: 'ignore' | 'pipe', args: readonly string[]): string =>
  execFileSync(
    process.execPath,
    [join(packageRoot(), 'dist/runtime.js'), '--root', join(directory, 'state'), '--systemd-cgroup', ...args],
    { encoding: 'utf8', stdio: ['ignore', stdout, stdout === 'ignore' ? 'ignore' : 'inherit'] },
  );
const runtime = (...args: readonly string[]): string => run('pipe', args);

const show = (property: string): string =>
  execFileSync('systemctl', ['show', '--value', '--property', property, 'oci-web.scope'], {
    encoding: 'utf8',
  }).trim();

test('a container of the OCI command line lives in a scope from create to delete', () => {
  const bundle = join(directory, 'bundle');
  mkdirSync(bundle);
  makeBusyboxRoot(join(bundle, 'rootfs'));
  const config = {
    ociVersion: '1.0.2',
    root: { path: 'rootfs' },
    process: { args: ['sleep', '60'], cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 } },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      cgroupsPath: 'oci.slice:oci:web',
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'cgroup'].map((type) => ({ type })),
      resources: { memory: { limit: 64 << 20 }, devices: [{ allow: false, access: 'rwm' }] },
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  run('ignore', ['create', '--bundle', bundle, 'web']);
  assert.equal(show('ActiveState'), 'active');
  runtime('start', 'web');
  const { pid } = JSON.parse(runtime('state', 'web')) as { pid: number };
  assert.match(readFileSync(`/proc/${pid}/cgroup`, 'latin1'), /\/oci\.slice\/oci-web\.scope$/m);
  assert.equal(show('MemoryMax'), String(64 << 20));
  assert.match(runtime('exec', 'web', 'cat', '/proc/self/cgroup'), /^0::\/$/m);
  runtime('update', '--memory', String(96 << 20), 'web');
  assert.equal(show('MemoryMax'), String(96 << 20));
  assert.equal(readFileSync('/sys/fs/cgroup/oci.slice/oci-web.scope/memory.max', 'latin1'), `${96 << 20}\n`);
  runtime('delete', '--force', 'web');
  assert.equal(show('LoadState'), 'not-found');
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { execTarget } from '../../src/runtime/process-namespaces.ts';
import type { Container, ExecSpec } from '../../src/runtime/runtime.ts';
import { openSandbox, type Outcome, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
let container: Container;
const signal = new AbortController().signal;

before(async () => {
  box = openSandbox();
  const spec = box.spec(['sleep', '1000'], { hostname: 'inner', network: 'none' });
  container = await box.runtime.start(spec, { kind: 'capture', onOutput: () => undefined }, { signal });
});

after(async () => {
  await container[Symbol.asyncDispose]();
  await box.close();
});

function execSpec(args: readonly string[], more: Partial<ExecSpec> = {}): ExecSpec {
  return { ...box.spec(args), target: execTarget(container.pid), ...more };
}

async function exec(spec: ExecSpec): Promise<Pick<Outcome, 'stdout' | 'status'>> {
  let stdout = '';
  await using process = await box.runtime.exec(
    spec,
    { kind: 'capture', onOutput: (_, data) => (stdout += Buffer.from(data).toString()) },
    { signal },
  );
  return { status: await process.exited, stdout };
}

test('a further process sees what the first one sees', async () => {
  const { stdout } = await exec(
    execSpec(['sh', '-c', 'hostname; cat /proc/1/cmdline | tr "\\0" " "; echo; ls /']),
  );
  assert.match(stdout, /^inner\nsleep 1000 \nbin\ndev\n/);
  const links = await exec(
    execSpec([
      'sh',
      '-c',
      'for n in mnt uts ipc pid net cgroup; do [ "$(readlink /proc/1/ns/$n)" = "$(readlink /proc/self/ns/$n)" ] || echo $n; done',
    ]),
  );
  assert.equal(links.stdout, '');
});

test('it has an identity of its own, and its own exit status', async () => {
  const { stdout, status } = await exec(
    execSpec(
      [
        'sh',
        '-c',
        'id -u; id -G; grep -E "Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp:" /proc/self/status; pwd; exit 7',
      ],
      {
        user: { uid: 1000, gid: 1001, additionalGids: [1002] },
        cwd: '/tmp',
        noNewPrivileges: true,
      },
    ),
  );
  assert.match(
    stdout,
    /^1000\n1001 1002\nCapEff:\t0{16}\nCapBnd:\t00000000a80425fb\nCapAmb:\t0{16}\nNoNewPrivs:\t1\nSeccomp:\t2\n\/tmp\n$/,
  );
  assert.deepEqual(status, { kind: 'exited', code: 7 });
});

test('ambient capabilities reach a program of an unprivileged user', async () => {
  const sets = ['CAP_NET_BIND_SERVICE', 'CAP_CHOWN'];
  const { stdout } = await exec(
    execSpec(['sh', '-c', 'grep -E "Cap(Inh|Prm|Eff|Amb)" /proc/self/status | cut -f2'], {
      user: { uid: 1000, gid: 1000, additionalGids: [] },
      capabilitySets: {
        bounding: sets,
        effective: sets,
        permitted: sets,
        inheritable: sets,
        ambient: ['CAP_CHOWN'],
      },
    }),
  );
  assert.deepEqual(stdout.trim().split('\n'), [
    '0000000000000401',
    '0000000000000001',
    '0000000000000001',
    '0000000000000001',
  ]);
});

test('no descriptor leaks into it, and it cannot be traced on its way (CVE-2016-9962)', async () => {
  const { stdout } = await exec(execSpec(['sh', '-c', 'ls /proc/self/fd | tr "\\n" " "']));
  assert.equal(stdout, '0 1 2 3 ');
});

test('HOME is what /etc/passwd of the container says', async () => {
  const { stdout } = await exec(execSpec(['sh', '-c', 'echo $HOME'], { findHome: true, env: ['PATH=/bin'] }));
  assert.equal(stdout, '/root\n');
});

test('a process that is another one by now is refused', async () => {
  const spec = execSpec(['true']);
  await assert.rejects(
    exec({ ...spec, target: { ...spec.target, started: 1n } }),
    (error) => isTsbuildError(error, 'CONTAINER_START_FAILED') && /ESRCH/.test(error.message),
  );
  await assert.rejects(exec(execSpec(['nothing-here'])), (error) =>
    isTsbuildError(error, 'COMMAND_NOT_FOUND'),
  );
});

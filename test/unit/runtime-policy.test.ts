import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import {
  adjustCapabilities,
  ALL_CAPABILITIES,
  capabilityMask,
  DEFAULT_CAPABILITIES,
} from '../../src/runtime/capabilities.ts';
import { createContainerSpec, type ContainerInput } from '../../src/runtime/default-spec.ts';
import { layOut } from '../../src/runtime/layout.ts';
import { compileDefaultProfile } from '../../src/runtime/seccomp/compile.ts';
import { usualFilters } from '../../src/runtime/seccomp/default-filter.ts';
import { encodeProgram, type Instruction } from '../../src/runtime/seccomp/program.ts';
import { NEWEST_KNOWN, syscallNumbers } from '../../src/runtime/seccomp/syscalls.ts';
import { encodePlan } from '../../native/plan.ts';

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const ALLOW = 0x7fff0000;
const errno = (number: number): number => 0x00050000 | number;

/** The kernel's interpreter for the instructions that we use. */
function verdict(
  program: readonly Instruction[],
  nr: number,
  args: readonly number[] = [],
  arch = X86_64,
): number {
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 1) {
    const instruction = program[at];
    assert.ok(instruction !== undefined);
    const { code, jt, jf, k } = instruction;
    if (code === 0x20) accumulator = k === 0 ? nr : k === 4 ? arch : (args[(k - 16) / 8] ?? 0);
    else if (code === 0x15) at += accumulator === k ? jt : jf;
    else if (code === 0x35) at += accumulator >= k ? jt : jf;
    else if (code === 0x45) at += (accumulator & k) !== 0 ? jt : jf;
    else if (code === 0x05) at += k;
    else if (code === 0x06) return k >>> 0;
    else assert.fail(`instruction ${code}`);
  }
  return assert.fail('the program ran off its end');
}

const program = compileDefaultProfile(DEFAULT_CAPABILITIES, 'amd64');
const nr = (name: string, arch: 'x86_64' | 'i386' = 'x86_64'): number =>
  syscallNumbers(arch).get(name) ?? assert.fail(name);

test('the filter answers each call as the profile says', () => {
  for (const name of ['read', 'execve', 'openat', 'futex', 'chroot', 'ptrace'])
    assert.equal(verdict(program, nr(name)), ALLOW, name);
  for (const name of ['mount', 'bpf', 'unshare', 'setns', 'reboot', 'init_module', 'perf_event_open'])
    assert.equal(verdict(program, nr(name)), errno(1), name);
  assert.equal(verdict(program, nr('clone3')), errno(38));
});

test('arguments decide where they should', () => {
  assert.equal(verdict(program, nr('clone'), [0x1200011]), ALLOW);
  assert.equal(verdict(program, nr('clone'), [0x10000000]), errno(1));
  assert.equal(verdict(program, nr('personality'), [0x20008]), ALLOW);
  assert.equal(verdict(program, nr('personality'), [0x40000]), errno(1));
  assert.equal(verdict(program, nr('socket'), [2]), ALLOW);
  for (const family of [38, 40]) assert.equal(verdict(program, nr('socket'), [family]), errno(1));
});

test('calls that nobody knows: EPERM among the known numbers, ENOSYS above them', () => {
  assert.equal(verdict(program, 250), errno(1));
  assert.equal(verdict(program, NEWEST_KNOWN.x86_64 + 1), errno(38));
  assert.equal(verdict(program, 0x40000000 + nr('read')), errno(38));
  assert.equal(verdict(program, 0, [], 0x1234), 0x80000000);
});

test('32-bit programs have their own numbers', () => {
  assert.equal(verdict(program, nr('read', 'i386'), [], I386), ALLOW);
  assert.equal(verdict(program, nr('mount', 'i386'), [], I386), errno(1));
});

test('capabilities open what they are for', () => {
  const wide = compileDefaultProfile(ALL_CAPABILITIES, 'amd64');
  for (const name of ['mount', 'bpf', 'clone3', 'unshare', 'reboot'])
    assert.equal(verdict(wide, nr(name)), ALLOW, name);
});

test('every number gets a verdict, and the program fits the kernel', () => {
  for (let number = 0; number <= 600; number += 1)
    assert.ok([ALLOW, errno(1), errno(38)].includes(verdict(program, number)));
  assert.ok(program.length < 4096);
  assert.equal(encodeProgram(program).byteLength, 8 * program.length);
});

test("capability sets are docker's, and change as asked", () => {
  assert.equal(capabilityMask(DEFAULT_CAPABILITIES), 0xa80425fbn);
  assert.deepEqual(adjustCapabilities(['sys_time'], ['all']), ['CAP_SYS_TIME']);
  assert.ok(!adjustCapabilities([], ['CAP_CHOWN']).includes('CAP_CHOWN'));
  assert.deepEqual(adjustCapabilities(['ALL'], []), ALL_CAPABILITIES);
  assert.throws(
    () => adjustCapabilities(['SYS_TIM'], []),
    (error) => isTsbuildError(error, 'USAGE') && /SYS_TIME/.test(error.hint ?? ''),
  );
});

const INPUT: ContainerInput = {
  id: 'x',
  mounts: [{ kind: 'bind', source: '/r', readonly: false }],
  args: ['prog', 'a'],
  env: ['A=1'],
  cwd: '',
  user: { uid: 7, gid: 8, additionalGids: [9] },
  home: '/h',
  hostname: 'h',
  network: 'none',
  terminal: false,
  resolvConf: 'r',
  extraHosts: ['db:1.2.3.4', 'v6:[::2]'],
};
const MACHINE = { arch: 'amd64', cgroup2: false, bounding: (1n << 41n) - 1n, mountPoint: '/m' };

test("a spec has docker's defaults", () => {
  const spec = createContainerSpec(INPUT);
  assert.deepEqual(spec.env, [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'A=1',
    'HOME=/h',
  ]);
  assert.equal(spec.cwd, '/');
  const hosts = spec.mounts.find((mount) => mount.target === '/etc/hosts');
  assert.match(
    hosts?.kind === 'file' ? String(hosts.content) : '',
    /^127\.0\.0\.1\tlocalhost h\n[\s\S]*1\.2\.3\.4\tdb\n::2\tv6\n$/,
  );
  assert.ok(!spec.mounts.some((mount) => mount.target === '/etc/resolv.conf'));
});

test('the filter is installed before the identity changes, the program comes last', () => {
  const ops = layOut(createContainerSpec(INPUT), MACHINE).map(({ op }) => op);
  assert.equal(ops[0], 'namespaces');
  assert.deepEqual(ops.slice(-3), ['seccomp', 'credentials', 'exec']);
  assert.ok(ops.indexOf('pivot') > ops.lastIndexOf('mask'));
});

test('filters that were made beforehand are those of containers with the usual capabilities', () => {
  const { capabilities } = createContainerSpec(INPUT);
  for (const arch of ['amd64', 'arm64'])
    assert.equal(
      usualFilters()[`${arch} ${capabilities.join(' ')}`],
      Buffer.from(encodeProgram(compileDefaultProfile(DEFAULT_CAPABILITIES, arch))).toString('base64'),
    );
});

test('only root keeps capabilities, a privileged container has no filter and no masks', () => {
  const credentials = (input: ContainerInput): unknown =>
    layOut(createContainerSpec(input), MACHINE).find(({ op }) => op === 'credentials');
  assert.deepEqual((credentials(INPUT) as { effective: bigint }).effective, 0n);
  assert.equal(
    (credentials({ ...INPUT, user: { uid: 0, gid: 0, additionalGids: [] } }) as { effective: bigint })
      .effective,
    0xa80425fbn,
  );
  const privileged = layOut(createContainerSpec({ ...INPUT, privileged: true }), MACHINE).map(({ op }) => op);
  assert.ok(!privileged.includes('seccomp') && !privileged.includes('mask'));
});

test("a program is looked for in the container's own PATH", () => {
  const exec = (args: readonly string[], env: readonly string[]): unknown =>
    layOut(createContainerSpec({ ...INPUT, args, env }), MACHINE).find(({ op }) => op === 'exec');
  assert.deepEqual((exec(['p'], ['PATH=/a:/b']) as { candidates: string[] }).candidates, ['/a/p', '/b/p']);
  assert.deepEqual((exec(['./p'], ['PATH=/a']) as { candidates: string[] }).candidates, ['./p']);
});

test('a plan is a header and padded operations', () => {
  const bytes = Buffer.from(encodePlan([{ op: 'hostname', subject: 'h', name: 'abc' }]));
  assert.equal(bytes.toString('latin1', 0, 4), 'TSBP');
  assert.equal(bytes.readUInt32LE(8), bytes.byteLength);
  assert.equal(bytes.readUInt32LE(12), 1);
  assert.equal(bytes.byteLength, 16 + 8 + 8);
  assert.throws(
    () => encodePlan([{ op: 'hostname', subject: 'host name', name: 'a\0b' }]),
    /host name has a NUL/,
  );
});

test('specs that cannot run are refused', () => {
  assert.throws(
    () => layOut(createContainerSpec({ ...INPUT, args: [] }), MACHINE),
    (error) => isTsbuildError(error, 'SPEC_INVALID'),
  );
  assert.throws(
    () => layOut(createContainerSpec({ ...INPUT, mounts: [] }), MACHINE),
    (error) => isTsbuildError(error, 'SPEC_INVALID'),
  );
});

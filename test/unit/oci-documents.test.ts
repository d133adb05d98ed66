import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseArguments, type OptionSpec } from '../../src/cli/runtime/arguments.ts';
import { parseSet } from '../../src/runtime/oci/cpu-set.ts';
import { parseFields } from '../../src/runtime/oci/fields.ts';
import { parseIdMapText } from '../../src/runtime/oci/id-maps.ts';
import { bindAttributes, parseMountOptions } from '../../src/runtime/oci/mount-options.ts';
import { parseSeccomp } from '../../src/runtime/oci/seccomp-document.ts';
import { compileProfile, filterFlags } from '../../src/runtime/seccomp/compile-profile.ts';
import type { SeccompArgument, SeccompOperator } from '../../src/runtime/seccomp/profile.ts';
import type { Instruction } from '../../src/runtime/seccomp/program.ts';
import { NEWEST_KNOWN, syscallNumbers } from '../../src/runtime/seccomp/syscalls.ts';

const ALLOW = 0x7fff0000;
const errno = (number: number): number => 0x00050000 | number;

/** The kernel's interpreter for the instructions that we use; arguments are 64 bits wide. */
function verdict(
  program: readonly Instruction[],
  nr: number,
  args: readonly bigint[] = [],
  arch = 0xc000003e,
): number {
  const word = (offset: number): number => {
    if (offset === 0) return nr;
    if (offset === 4) return arch;
    const value = args[(offset - 16) >> 3] ?? 0n;
    return Number((offset & 4) === 0 ? value & 0xffffffffn : value >> 32n);
  };
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 1) {
    const { code, jt, jf, k } = program[at] ?? assert.fail('ran off its end');
    if (code === 0x20) accumulator = word(k);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x15) at += accumulator === k >>> 0 ? jt : jf;
    else if (code === 0x25) at += accumulator > k >>> 0 ? jt : jf;
    else if (code === 0x35) at += accumulator >= k >>> 0 ? jt : jf;
    else if (code === 0x05) at += k;
    else if (code === 0x06) return k >>> 0;
    else assert.fail(`instruction ${code}`);
  }
  return assert.fail('ran off its end');
}

const nr = (name: string): number => syscallNumbers('x86_64').get(name) ?? assert.fail(name);

const HOLDS: Readonly<Record<SeccompOperator, (argument: bigint, value: bigint, two: bigint) => boolean>> = {
  SCMP_CMP_EQ: (argument, value) => argument === value,
  SCMP_CMP_NE: (argument, value) => argument !== value,
  SCMP_CMP_LT: (argument, value) => argument < value,
  SCMP_CMP_LE: (argument, value) => argument <= value,
  SCMP_CMP_GT: (argument, value) => argument > value,
  SCMP_CMP_GE: (argument, value) => argument >= value,
  SCMP_CMP_MASKED_EQ: (argument, value, two) => (argument & value) === two,
};

test('every comparison of a filter holds for 64 bits', () => {
  const samples = [
    0n,
    1n,
    7n,
    0xffffffffn,
    0x100000000n,
    0x100000007n,
    0x7fffffff00000000n,
    0xffffffffffffffffn,
  ];
  for (const op of Object.keys(HOLDS) as SeccompOperator[])
    for (const value of samples)
      for (const valueTwo of op === 'SCMP_CMP_MASKED_EQ' ? samples : [0n]) {
        const args: readonly SeccompArgument[] = [{ index: 1, op, value, valueTwo }];
        const program = compileProfile(
          {
            ...{ defaultAction: 'SCMP_ACT_ALLOW', architectures: [], flags: [] },
            syscalls: [{ names: ['ioctl'], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args }],
          },
          'amd64',
        );
        for (const argument of samples)
          assert.equal(
            verdict(program, nr('ioctl'), [0n, argument]),
            HOLDS[op](argument, value, valueTwo) ? errno(5) : ALLOW,
            `${argument} ${op} ${value} ${valueTwo}`,
          );
      }
});

test('rules of a filter: all conditions, alternatives on one argument, unconditional ones first', () => {
  const equal = (index: number, value: bigint): SeccompArgument => ({
    index,
    op: 'SCMP_CMP_EQ',
    value,
    valueTwo: 0n,
  });
  const program = compileProfile(
    {
      ...{ defaultAction: 'SCMP_ACT_ERRNO', architectures: ['SCMP_ARCH_X86'], flags: [] },
      syscalls: [
        { names: ['socket', 'no_such_call'], action: 'SCMP_ACT_ALLOW', args: [equal(0, 2n), equal(1, 1n)] },
        { names: ['kill'], action: 'SCMP_ACT_ALLOW', args: [equal(1, 0n), equal(1, 15n)] },
        { names: ['read'], action: 'SCMP_ACT_KILL_PROCESS', args: [equal(0, 9n)] },
        { names: ['read'], action: 'SCMP_ACT_ALLOW', args: [] },
      ],
    },
    'amd64',
  );
  assert.equal(verdict(program, nr('socket'), [2n, 1n]), ALLOW);
  assert.equal(verdict(program, nr('socket'), [2n, 3n]), errno(1));
  for (const signal of [0n, 15n]) assert.equal(verdict(program, nr('kill'), [1n, signal]), ALLOW);
  assert.equal(verdict(program, nr('kill'), [1n, 9n]), errno(1));
  assert.equal(verdict(program, nr('read'), [9n]), ALLOW);
  assert.equal(verdict(program, NEWEST_KNOWN.x86_64 + 1), errno(38));
  assert.equal(verdict(program, syscallNumbers('i386').get('read') ?? 0, [], 0x40000003), ALLOW);
  assert.equal(verdict(program, 0, [], 0x1234), 0);
});

test('a filter that notifies has a listener, and never for what sends its descriptor', () => {
  const parse = (names: string[], more: object = { listenerPath: '/s' }) =>
    parseSeccomp(
      parseFields(
        JSON.stringify({
          defaultAction: 'SCMP_ACT_ALLOW',
          syscalls: [{ names, action: 'SCMP_ACT_NOTIFY' }],
          ...more,
        }),
        'x',
      ),
      () => ['', '', '', ''],
    );
  assert.equal(filterFlags(parse(['mkdir'])), 4 | 8);
  const flags = ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'];
  assert.equal(filterFlags(parse(['mkdir'], { listenerPath: '/run/agent', flags })), 8 | 32);
  for (const names of [['write'], ['sendmsg']])
    assert.throws(
      () => parse(names),
      (error) => isTsbuildError(error, 'SPEC_INVALID'),
    );
  assert.throws(() => parse(['mkdir'], {}), /needs a listenerPath/);
});

test('mount options are attributes, propagation, flags and data; later ones win', () => {
  const options = parseMountOptions([
    'rbind',
    'ro',
    'nosuid',
    'rw',
    'rro',
    'rslave',
    'strictatime',
    'sync',
    'size=64k',
    'defaults',
  ]);
  assert.deepEqual([options.bind, options.recursive, options.set, options.clear], [true, true, 0x22, 0x71]);
  assert.deepEqual([options.setBelow, options.propagation], [1, (1 << 19) | (1 << 14)]);
  assert.deepEqual(options.data, [
    ['sync', ''],
    ['size', '64k'],
  ]);
  assert.equal(parseMountOptions(['ridmap=uids=0-1-2;gids=0-1-2']).idmapText, 'uids=0-1-2;gids=0-1-2');
});

test('access times of a bind: what is asked for replaces all, what only takes back changes nothing', () => {
  const of = (...options: readonly string[]): readonly number[] => {
    const { set, clear } = bindAttributes(parseMountOptions(['bind', ...options]));
    return [set, clear];
  };
  for (const option of ['atime', 'norelatime', 'nostrictatime', 'diratime'])
    assert.deepEqual(of(option), [0, 0], option);
  assert.deepEqual(of('relatime'), [0, 0xf0]);
  assert.deepEqual(of('noatime', 'ro'), [0x11, 0xf0]);
  assert.deepEqual(of('strictatime', 'noatime'), [0x20, 0xf0]);
  assert.deepEqual(of('nodiratime', 'norelatime'), [0x80, 0x70]);
  assert.deepEqual(of('noatime', 'atime', 'nodev'), [4, 0]);
});

test('a flag about a listener is passed over where there is none', () => {
  const flags = ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', 'SECCOMP_FILTER_FLAG_LOG'];
  assert.equal(filterFlags({ defaultAction: 'SCMP_ACT_ALLOW', architectures: [], flags, syscalls: [] }), 2);
});

test('lists of cpus and id maps are read, and refused where they make no sense', () => {
  assert.deepEqual([...parseSet('0-2,9', 'cpus')], [7, 2, 0, 0, 0, 0, 0, 0]);
  for (const text of ['', 'a', '3-1', '99999'])
    assert.throws(() => parseSet(text, 'cpus'), /invalid list of cpus/);
  assert.deepEqual(parseIdMapText('uids=0-5-1#1-9-2;gids=0-0-1').uids.length, 2);
  assert.throws(
    () => parseIdMapText('uids=0-5'),
    (error) => isTsbuildError(error, 'SPEC_INVALID'),
  );
});

test('arguments: one dash or two, values joined or apart, options after words unless they end there', () => {
  const options: readonly OptionSpec[] = [
    { name: 'bundle', short: 'b', value: 'required', help: '' },
    { name: 'force', short: 'f', value: 'none', help: '' },
  ];
  const { parsed } = parseArguments(['id', '-f', '-b/x', '--', '-z'], options, { stop: false });
  assert.deepEqual([parsed.words, parsed.has('force'), parsed.text('bundle')], [['id', '-z'], true, '/x']);
  const { rest } = parseArguments(['--bundle=/y', 'exec', '-f'], options, { stop: true });
  assert.deepEqual(rest, ['exec', '-f']);
  for (const wrong of [['--nothing'], ['--bundle']])
    assert.throws(
      () => parseArguments(wrong, options, { stop: false }),
      (error) => isTsbuildError(error, 'USAGE'),
    );
});

test('a document says which of its members is wrong', () => {
  const fields = parseFields('{"process":{"args":["a",1]},"list":[1]}', 'config.json');
  assert.throws(() => fields.fields('process').texts('args'), /process\.args must be a list of strings/);
  assert.throws(() => fields.list('list'), /list\[0\] must be an object/);
  assert.throws(() => parseFields('[]', 'x'), /must hold a JSON object/);
});

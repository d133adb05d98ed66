/**
 * From the default profile to a BPF program: ranges of equal verdicts, found by binary search.
 *
 * Foreign architectures are killed; x32 calls get ENOSYS. Pure: the same capabilities give the same bytes.
 *
 * Source: kernel Documentation/userspace-api/seccomp_filter.rst; include/uapi/linux/{seccomp,filter,audit}.h.
 */
import {
  ALLOWED,
  NAMESPACE_FLAGS,
  PERSONALITIES,
  REFUSED_FAMILIES,
  WITH_CAPABILITY,
} from './default-profile.ts';
import { NEWEST_KNOWN, syscallNumbers, type SeccompArch } from './syscalls.ts';

const EPERM = 1;
const ENOSYS = 38;
const RET_ALLOW = 0x7fff0000;
const RET_ERRNO = 0x00050000;
const RET_KILL_PROCESS = 0x80000000;

const AUDIT_ARCH: Readonly<Record<SeccompArch, number>> = {
  x86_64: 0xc000003e,
  i386: 0x40000003,
  aarch64: 0xc00000b7,
};
const X32_BIT = 0x40000000;
const OFFSET_NR = 0;
const OFFSET_ARCH = 4;
const offsetOfArgument = (index: number): number => 16 + 8 * index;

/** One instruction of classic BPF. */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const LD = 0x20;
const JEQ = 0x15;
const JGE = 0x35;
const JSET = 0x45;
const JA = 0x05;
const RET = 0x06;

const load = (k: number): Instruction => ({ code: LD, jt: 0, jf: 0, k });
const jump = (code: number, k: number, jt: number, jf: number): Instruction => ({ code, jt, jf, k });
const ret = (k: number): Instruction => ({ code: RET, jt: 0, jf: 0, k });
const skip = (k: number): Instruction => ({ code: JA, jt: 0, jf: 0, k });

/** What to do with a call: a block of instructions that ends in returns. */
type Verdict = readonly Instruction[];
const allow: Verdict = [ret(RET_ALLOW)];
const errno = (number: number): Verdict => [ret(RET_ERRNO | number)];

/** Architectures whose programs run on a machine of `arch`. */
function archesOf(arch: string): readonly SeccompArch[] {
  return arch === 'arm64' ? ['aarch64'] : ['x86_64', 'i386'];
}

/** The filter for a container with these capabilities, on `arch` (`amd64`, `arm64`). */
export function compileDefaultProfile(capabilities: readonly string[], arch: string): readonly Instruction[] {
  const program: Instruction[] = [load(OFFSET_ARCH)];
  for (const each of archesOf(arch)) {
    const body = [
      load(OFFSET_NR),
      ...(each === 'x86_64' ? refuseX32 : []),
      ...search(rangesOf(each, new Set(capabilities))),
    ];
    program.push(jump(JEQ, AUDIT_ARCH[each], 1, 0), skip(body.length), ...body);
  }
  program.push(ret(RET_KILL_PROCESS));
  return program;
}

const refuseX32: readonly Instruction[] = [jump(JGE, X32_BIT, 0, 1), ret(RET_ERRNO | ENOSYS)];

interface Range {
  readonly from: number;
  readonly verdict: Verdict;
}

function rangesOf(arch: SeccompArch, capabilities: ReadonlySet<string>): readonly Range[] {
  const numbers = syscallNumbers(arch);
  const verdicts = new Map<number, Verdict>();
  const set = (name: string, verdict: Verdict): void => {
    const number = numbers.get(name);
    if (number !== undefined) verdicts.set(number, verdict);
  };
  for (const name of ALLOWED) set(name, allow);
  set('personality', oneOf(0, PERSONALITIES));
  set('socket', noneOf(0, REFUSED_FAMILIES));
  set('clone', [
    load(offsetOfArgument(0)),
    jump(JSET, NAMESPACE_FLAGS, 0, 1),
    ret(RET_ERRNO | EPERM),
    ret(RET_ALLOW),
  ]);
  // why: glibc falls back to clone(2), whose flags a filter can read, only on ENOSYS.
  set('clone3', errno(ENOSYS));
  for (const [capability, names] of Object.entries(WITH_CAPABILITY))
    if (capabilities.has(capability)) for (const name of names) set(name, allow);
  if (capabilities.has('CAP_SYS_ADMIN')) set('clone', allow);
  return merge(verdicts, NEWEST_KNOWN[arch]);
}

function oneOf(argument: number, values: readonly number[]): Verdict {
  const tests = values.map((value, index) => jump(JEQ, value, values.length - index, 0));
  return [load(offsetOfArgument(argument)), ...tests, ret(RET_ERRNO | EPERM), ret(RET_ALLOW)];
}

function noneOf(argument: number, values: readonly number[]): Verdict {
  const tests = values.map((value, index) => jump(JEQ, value, values.length - index, 0));
  return [load(offsetOfArgument(argument)), ...tests, ret(RET_ALLOW), ret(RET_ERRNO | EPERM)];
}

function merge(verdicts: ReadonlyMap<number, Verdict>, newest: number): readonly Range[] {
  const refused = errno(EPERM);
  const ranges: Range[] = [];
  for (let number = 0; number <= newest; number += 1) {
    const verdict = verdicts.get(number) ?? refused;
    if (ranges.at(-1)?.verdict !== verdict) ranges.push({ from: number, verdict });
  }
  ranges.push({ from: newest + 1, verdict: errno(ENOSYS) });
  return ranges;
}

function search(ranges: readonly Range[]): readonly Instruction[] {
  const middle = ranges.length >> 1;
  const upper = ranges[middle];
  if (upper === undefined || ranges.length === 1) return ranges[0]?.verdict ?? errno(EPERM);
  const left = search(ranges.slice(0, middle));
  const right = search(ranges.slice(middle));
  // why: jump offsets have 8 bits; a longer way goes through an unconditional jump, which has 32.
  if (left.length <= 255) return [jump(JGE, upper.from, left.length, 0), ...left, ...right];
  return [jump(JGE, upper.from, 0, 1), skip(left.length), ...left, ...right];
}

/** As the kernel wants it: struct sock_filter[], little-endian. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  }
  return bytes;
}

/** Programs of classic BPF over seccomp_data: instructions, search over ranges of call numbers, encoding. */
import type { SeccompArch } from './syscalls.ts';

export const EPERM = 1;
export const ENOSYS = 38;
export const RET_ALLOW = 0x7fff0000;
export const RET_ERRNO = 0x00050000;
export const RET_KILL_PROCESS = 0x80000000;

export const AUDIT_ARCH: Readonly<Record<SeccompArch, number>> = {
  x86_64: 0xc000003e,
  i386: 0x40000003,
  aarch64: 0xc00000b7,
};
export const X32_BIT = 0x40000000;
export const OFFSET_NR = 0;
export const OFFSET_ARCH = 4;
export const offsetOfArgument = (index: number): number => 16 + 8 * index;

/** One instruction of classic BPF. */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const LD = 0x20;
export const JEQ = 0x15;
export const JGT = 0x25;
export const JGE = 0x35;
export const JSET = 0x45;
const AND = 0x54;
const JA = 0x05;
const RET = 0x06;

export const load = (k: number): Instruction => ({ code: LD, jt: 0, jf: 0, k });
export const jump = (code: number, k: number, jt: number, jf: number): Instruction => ({ code, jt, jf, k });
export const ret = (k: number): Instruction => ({ code: RET, jt: 0, jf: 0, k });
export const skip = (k: number): Instruction => ({ code: JA, jt: 0, jf: 0, k });
export const and = (k: number): Instruction => ({ code: AND, jt: 0, jf: 0, k });

/** What to do with a call: a block of instructions that ends in returns. */
export type Verdict = readonly Instruction[];
export const errno = (number: number): Verdict => [ret(RET_ERRNO | number)];

/** x32 calls have their own numbers, and nobody uses them. */
export const refuseX32: readonly Instruction[] = [jump(JGE, X32_BIT, 0, 1), ret(RET_ERRNO | ENOSYS)];

/** Calls from this number on, up to the next range. */
export interface Range {
  readonly from: number;
  readonly verdict: Verdict;
}

/** Adjacent numbers with one verdict become one range; `newest` is the last number that `otherwise` is for. */
export function mergeRanges(
  verdicts: ReadonlyMap<number, Verdict>,
  newest: number,
  otherwise: Verdict,
  beyond: Verdict,
): readonly Range[] {
  const ranges: Range[] = [];
  for (let number = 0; number <= newest; number += 1) {
    const verdict = verdicts.get(number) ?? otherwise;
    if (ranges.at(-1)?.verdict !== verdict) ranges.push({ from: number, verdict });
  }
  ranges.push({ from: newest + 1, verdict: beyond });
  return ranges;
}

/** The number is in the accumulator; the ranges begin with one from 0. */
export function search(ranges: readonly Range[]): readonly Instruction[] {
  return searchWithSharedEnds(ranges) ?? searchApart(ranges);
}

/** A jump whose ways lead to an instruction (its index), or to the end that a verdict of one instruction is. */
interface Fork {
  readonly from: number;
  above: number | Instruction;
  below: number | Instruction;
}

/**
 * Each verdict that is one instruction stands once, behind all. why: the kernel translates the program at each start, which
 * takes as long as it is. undefined where a way is longer than a jump.
 */
function searchWithSharedEnds(ranges: readonly Range[]): readonly Instruction[] | undefined {
  const program: (Instruction | Fork)[] = [];
  const put = (part: readonly Range[]): number | Instruction => {
    const at = program.length;
    const middle = part.length >> 1;
    const upper = part[middle];
    if (part.length > 1 && upper !== undefined) {
      const fork: Fork = { from: upper.from, above: 0, below: 0 };
      program.push(fork);
      fork.below = put(part.slice(0, middle));
      fork.above = put(part.slice(middle));
      return at;
    }
    const verdict = part[0]?.verdict ?? errno(EPERM);
    if (verdict.length === 1 && verdict[0] !== undefined) return verdict[0];
    program.push(...verdict);
    return at;
  };
  const start = put(ranges);
  if (typeof start !== 'number') return [start];
  const ends: Instruction[] = [];
  const placeOf = (target: number | Instruction): number => {
    if (typeof target === 'number') return target;
    const known = ends.findIndex((end) => sameInstruction(end, target));
    return program.length + (known < 0 ? ends.push(target) - 1 : known);
  };
  const resolved = program.map((each, at) =>
    'from' in each ? jump(JGE, each.from, placeOf(each.above) - at - 1, placeOf(each.below) - at - 1) : each,
  );
  return resolved.every(({ jt, jf }) => jt <= MAX_JUMP && jf <= MAX_JUMP)
    ? [...resolved, ...ends]
    : undefined;
}

const MAX_JUMP = 255;

function sameInstruction(a: Instruction, b: Instruction): boolean {
  return a.code === b.code && a.jt === b.jt && a.jf === b.jf && a.k === b.k;
}

function searchApart(ranges: readonly Range[]): readonly Instruction[] {
  const middle = ranges.length >> 1;
  const upper = ranges[middle];
  if (upper === undefined || ranges.length === 1) return ranges[0]?.verdict ?? errno(EPERM);
  const left = searchApart(ranges.slice(0, middle));
  const right = searchApart(ranges.slice(middle));
  // why: jump offsets have 8 bits; a longer way goes through an unconditional jump, which has 32.
  if (left.length <= MAX_JUMP) return [jump(JGE, upper.from, left.length, 0), ...left, ...right];
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

/**
 * Device rules as a program that the kernel asks before mknod and open in a v2 cgroup. Pure.
 *
 * For each kind of access that is asked for, the last rule that speaks of the device and of that access decides;
 * where none does, the answer is no. Spec: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE, struct bpf_cgroup_dev_ctx.
 */
import type { DeviceRule } from './resources.ts';
import { checkRule, isDeviceRule } from './device-rules.ts';

/** BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*. */
const ACCESS = { m: 1, r: 2, w: 4 } as const;
const TYPES: Readonly<Record<string, number>> = { b: 1, c: 2, u: 2 };

/** Registers: 0 the answer, 1 the context, then what is read of it. */
const R = { answer: 0, context: 1, type: 2, access: 3, major: 4, minor: 5 } as const;

const OP = {
  load: 0x61, // BPF_LDX | BPF_MEM | BPF_W
  copy: 0xbf, // BPF_ALU64 | BPF_MOV | BPF_X
  set: 0xb7, // BPF_ALU64 | BPF_MOV | BPF_K
  and: 0x54, // BPF_ALU | BPF_AND | BPF_K
  shift: 0x74, // BPF_ALU | BPF_RSH | BPF_K
  jump: 0x05, // BPF_JMP | BPF_JA
  jumpEqual: 0x16, // BPF_JMP32 | BPF_JEQ | BPF_K
  jumpNotEqual: 0x56, // BPF_JMP32 | BPF_JNE | BPF_K
  exit: 0x95, // BPF_JMP | BPF_EXIT
} as const;

interface Instruction {
  readonly op: number;
  readonly to?: number;
  readonly from?: number;
  readonly offset?: number;
  readonly value?: number;
}

export function compileDeviceProgram(rules: readonly DeviceRule[]): Uint8Array {
  const relevant = rules.filter(isDeviceRule).map(checkRule);
  return encode([
    { op: OP.load, to: R.type, from: R.context, offset: 0 },
    { op: OP.copy, to: R.access, from: R.type },
    { op: OP.and, to: R.type, value: 0xffff },
    { op: OP.shift, to: R.access, value: 16 },
    { op: OP.load, to: R.major, from: R.context, offset: 4 },
    { op: OP.load, to: R.minor, from: R.context, offset: 8 },
    ...(['m', 'r', 'w'] as const).flatMap((access) => question(relevant, access)),
    ...answer(true),
  ]);
}

function answer(allow: boolean): readonly Instruction[] {
  return [{ op: OP.set, to: R.answer, value: allow ? 1 : 0 }, { op: OP.exit }];
}

/** One kind of access: falls through where it is allowed or not asked for, else the program ends. */
function question(
  rules: readonly (DeviceRule & { readonly access: string })[],
  access: 'm' | 'r' | 'w',
): readonly Instruction[] {
  let tail: readonly Instruction[] = answer(false);
  // The last rule is asked first, so it is built last: how far it is to the end must be known.
  for (const rule of rules.filter((each) => each.access.includes(access))) {
    const tests = testsOf(rule);
    const verdict = rule.allow ? [{ op: OP.jump, offset: tail.length }] : answer(false);
    const matched = tests.map((test, index) => ({
      ...test,
      offset: tests.length - index - 1 + verdict.length,
    }));
    // why: the verifier refuses programs with code that is never reached, as it would lie behind such a rule.
    if (tests.length === 0) tail = rule.allow ? [] : verdict;
    else tail = [...matched, ...verdict, ...tail];
  }
  return [
    { op: OP.copy, to: R.answer, from: R.access },
    { op: OP.and, to: R.answer, value: ACCESS[access] },
    { op: OP.jumpEqual, to: R.answer, value: 0, offset: tail.length },
    ...tail,
  ];
}

/** Each jumps away where the device is another one. */
function testsOf({ type = 'a', major, minor }: DeviceRule): readonly Instruction[] {
  if (type === 'a') return [];
  const test = (register: number, wanted: number | undefined): Instruction[] =>
    wanted === undefined || wanted < 0 ? [] : [{ op: OP.jumpNotEqual, to: register, value: wanted }];
  return [...test(R.type, TYPES[type]), ...test(R.major, major), ...test(R.minor, minor)];
}

function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(8 * program.length);
  for (const [index, { op, to = 0, from = 0, offset = 0, value = 0 }] of program.entries()) {
    bytes.writeUInt8(op, 8 * index);
    bytes.writeUInt8(to | (from << 4), 8 * index + 1);
    bytes.writeInt16LE(offset, 8 * index + 2);
    bytes.writeInt32LE(value | 0, 8 * index + 4);
  }
  return bytes;
}

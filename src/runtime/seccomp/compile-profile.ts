/**
 * From a profile of the OCI config to a BPF program.
 *
 * As with libseccomp and runc: an unconditional rule for a call wins over conditional ones; conditions on one
 * argument given twice are alternatives; names that nobody knows are passed over; the machine's own architecture is
 * always among those of the profile, and others are killed. Calls newer than our table get ENOSYS where the default
 * is an errno, so that programs fall back to older calls.
 */
import {
  AUDIT_ARCH,
  ENOSYS,
  EPERM,
  JEQ,
  JGE,
  JGT,
  OFFSET_ARCH,
  OFFSET_NR,
  and,
  errno,
  jump,
  load,
  mergeRanges,
  offsetOfArgument,
  refuseX32,
  ret,
  search,
  skip,
  type Instruction,
  type Verdict,
} from './program.ts';
import type { SeccompAction, SeccompArgument, SeccompProfile, SeccompRule } from './profile.ts';
import { NEWEST_KNOWN, syscallNumbers, type SeccompArch } from './syscalls.ts';

const RETURNS: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const ARCHES: Readonly<Record<string, SeccompArch>> = {
  SCMP_ARCH_X86_64: 'x86_64',
  SCMP_ARCH_X86: 'i386',
  SCMP_ARCH_AARCH64: 'aarch64',
};

const WAIT_KILLABLE_RECV = 32;
const FLAGS: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: WAIT_KILLABLE_RECV,
};
const NEW_LISTENER = 8;

/** Flags of seccomp(2). TSYNC says nothing to a process with one thread. */
export function filterFlags(profile: SeccompProfile): number {
  const asked = profile.flags.reduce((flags, name) => flags | (FLAGS[name] ?? 0), 0);
  // why: the kernel takes the flag about a listener only where there is one.
  return profile.listenerPath === undefined ? asked & ~WAIT_KILLABLE_RECV : asked | NEW_LISTENER;
}

/** Flags that a profile may have, and actions: for the runtime's `features`. */
export const KNOWN_FLAGS: readonly string[] = ['SECCOMP_FILTER_FLAG_TSYNC', ...Object.keys(FLAGS)];
export const KNOWN_ACTIONS: readonly string[] = Object.keys(RETURNS);

/** The filter on `arch` (`amd64`, `arm64`). */
export function compileProfile(profile: SeccompProfile, arch: string): readonly Instruction[] {
  const native: SeccompArch = arch === 'arm64' ? 'aarch64' : 'x86_64';
  const known = profile.architectures.flatMap((name) => ARCHES[name] ?? []);
  const program: Instruction[] = [load(OFFSET_ARCH)];
  for (const each of new Set([native, ...known])) {
    // why: a foreign family's calls cannot be made here.
    if ((each === 'aarch64') !== (native === 'aarch64')) continue;
    const body = [
      load(OFFSET_NR),
      ...(each === 'x86_64' ? refuseX32 : []),
      ...search(rangesOf(profile, each)),
    ];
    program.push(jump(JEQ, AUDIT_ARCH[each], 1, 0), skip(body.length), ...body);
  }
  program.push(ret(RETURNS.SCMP_ACT_KILL));
  return program;
}

function rangesOf(profile: SeccompProfile, arch: SeccompArch): ReturnType<typeof mergeRanges> {
  const numbers = syscallNumbers(arch);
  const otherwise = verdictOf(profile.defaultAction, profile.defaultErrnoRet);
  const rules = new Map<number, SeccompRule[]>();
  for (const rule of profile.syscalls)
    for (const name of rule.names) {
      const number = numbers.get(name);
      if (number !== undefined) rules.set(number, [...(rules.get(number) ?? []), rule]);
    }
  const verdicts = new Map<number, Verdict>();
  const shared = new Map<string, Verdict>();
  for (const [number, list] of rules) {
    // why: equal verdicts must be the same object, or ranges would not merge.
    const key = JSON.stringify(
      list.map(({ action, errnoRet, args }) => [action, errnoRet, args.map(textOf)]),
    );
    const verdict = shared.get(key) ?? combine(list, otherwise);
    shared.set(key, verdict);
    verdicts.set(number, verdict);
  }
  const beyond = profile.defaultAction === 'SCMP_ACT_ERRNO' ? errno(ENOSYS) : otherwise;
  return mergeRanges(verdicts, NEWEST_KNOWN[arch], otherwise, beyond);
}

function textOf({ index, op, value, valueTwo }: SeccompArgument): string {
  return `${index} ${op} ${value} ${valueTwo}`;
}

function verdictOf(action: SeccompAction, errnoRet: number | undefined): Verdict {
  const base = RETURNS[action];
  if (action !== 'SCMP_ACT_ERRNO' && action !== 'SCMP_ACT_TRACE') return [ret(base)];
  return [ret(base | (errnoRet ?? EPERM))];
}

function combine(rules: readonly SeccompRule[], otherwise: Verdict): Verdict {
  const always = rules.find(({ args }) => args.length === 0);
  if (always !== undefined) return verdictOf(always.action, always.errnoRet);
  return [
    ...rules.flatMap((rule) =>
      alternatives(rule.args).flatMap((args) => when(args, verdictOf(rule.action, rule.errnoRet))),
    ),
    ...otherwise,
  ];
}

/** Conditions on one argument given twice are alternatives, each a rule of its own. */
function alternatives(args: readonly SeccompArgument[]): readonly (readonly SeccompArgument[])[] {
  const isRepeated = new Set(args.map(({ index }) => index)).size < args.length;
  return isRepeated ? args.map((arg) => [arg]) : [args];
}

/** `verdict` where all conditions hold; else what follows. */
function when(args: readonly SeccompArgument[], verdict: Verdict): readonly Instruction[] {
  return args.reduceRight<readonly Instruction[]>(
    (rest, arg) => [...test(arg, rest.length), ...rest],
    verdict,
  );
}

const high = (value: bigint): number => Number((value >> 32n) & 0xffffffffn);
const low = (value: bigint): number => Number(value & 0xffffffffn);

/** One 64-bit condition: falls through where it holds, else jumps over `rest` more instructions. */
function test({ index, op, value, valueTwo }: SeccompArgument, rest: number): readonly Instruction[] {
  const [lower, upper] = [load(offsetOfArgument(index)), load(offsetOfArgument(index) + 4)];
  const [hi, lo] = [high(value), low(value)];
  switch (op) {
    case 'SCMP_CMP_EQ':
      return [upper, jump(JEQ, hi, 0, rest + 2), lower, jump(JEQ, lo, 0, rest)];
    case 'SCMP_CMP_NE':
      return [upper, jump(JEQ, hi, 0, 2), lower, jump(JEQ, lo, rest, 0)];
    case 'SCMP_CMP_GE':
      return [upper, jump(JGT, hi, 3, 0), jump(JEQ, hi, 0, rest + 2), lower, jump(JGE, lo, 0, rest)];
    case 'SCMP_CMP_GT':
      return [upper, jump(JGT, hi, 3, 0), jump(JEQ, hi, 0, rest + 2), lower, jump(JGT, lo, 0, rest)];
    case 'SCMP_CMP_LE':
      return [upper, jump(JGT, hi, rest + 3, 0), jump(JEQ, hi, 0, 2), lower, jump(JGT, lo, rest, 0)];
    case 'SCMP_CMP_LT':
      return [upper, jump(JGT, hi, rest + 3, 0), jump(JEQ, hi, 0, 2), lower, jump(JGE, lo, rest, 0)];
    case 'SCMP_CMP_MASKED_EQ':
      return [
        ...[upper, and(hi), jump(JEQ, high(valueTwo), 0, rest + 3)],
        ...[lower, and(lo), jump(JEQ, low(valueTwo), 0, rest)],
      ];
  }
}

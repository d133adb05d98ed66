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
import {
  AUDIT_ARCH,
  EPERM,
  ENOSYS,
  JEQ,
  JSET,
  OFFSET_ARCH,
  OFFSET_NR,
  RET_ALLOW,
  RET_ERRNO,
  RET_KILL_PROCESS,
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
  type Range,
  type Verdict,
} from './program.ts';
import { NEWEST_KNOWN, syscallNumbers, type SeccompArch } from './syscalls.ts';

const allow: Verdict = [ret(RET_ALLOW)];
const refused = errno(EPERM);
const beyond = errno(ENOSYS);

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
  return mergeRanges(verdicts, NEWEST_KNOWN[arch], refused, beyond);
}

function oneOf(argument: number, values: readonly number[]): Verdict {
  const tests = values.map((value, index) => jump(JEQ, value, values.length - index, 0));
  return [load(offsetOfArgument(argument)), ...tests, ret(RET_ERRNO | EPERM), ret(RET_ALLOW)];
}

function noneOf(argument: number, values: readonly number[]): Verdict {
  const tests = values.map((value, index) => jump(JEQ, value, values.length - index, 0));
  return [load(offsetOfArgument(argument)), ...tests, ret(RET_ALLOW), ret(RET_ERRNO | EPERM)];
}

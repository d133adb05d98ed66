/**
 * A profile as `--security-opt seccomp=FILE` names it: docker's JSON, whose rules may depend on capabilities,
 * architectures and the kernel, or plain OCI JSON.
 *
 * Source: moby/profiles, seccomp (Seccomp, Syscall, Filter); OCI runtime-spec v1.2, config-linux.md, "Seccomp".
 */
import { TsbuildError } from '../../base/errors.ts';
import { isJsonObject, type JsonObject } from '../../base/json.ts';
import type {
  SeccompAction,
  SeccompArgument,
  SeccompOperator,
  SeccompProfile,
  SeccompRule,
} from './profile.ts';

export const MAX_PROFILE = 1 << 20;
const MAX_RULES = 4096;
const MAX_NAMES = 4096;

const ACTIONS: readonly SeccompAction[] = [
  ...(['SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP'] as const),
  ...(['SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE', 'SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_NOTIFY'] as const),
];
const OPERATORS: readonly SeccompOperator[] = [
  ...(['SCMP_CMP_NE', 'SCMP_CMP_LT', 'SCMP_CMP_LE', 'SCMP_CMP_EQ', 'SCMP_CMP_GE', 'SCMP_CMP_GT'] as const),
  'SCMP_CMP_MASKED_EQ',
];

export interface ProfileFacts {
  readonly capabilities: readonly string[];
  /** `amd64`, `arm64`. */
  readonly arch: string;
  /** `6.18`. */
  readonly kernel: string;
}

/** Throws SPEC_INVALID naming the member. */
export function parseDockerProfile(text: string, facts: ProfileFacts): SeccompProfile {
  if (text.length > MAX_PROFILE) throw invalid(`it has more than ${MAX_PROFILE} characters`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('it is no JSON');
  }
  if (!isJsonObject(value)) throw invalid('it is no object');
  const defaultErrno = optionalNumber(value, 'defaultErrnoRet', 'defaultErrnoRet');
  const rules = listOf(value, 'syscalls', MAX_RULES);
  return {
    defaultAction: oneOf(ACTIONS, value['defaultAction'], 'defaultAction'),
    ...(defaultErrno === undefined ? {} : { defaultErrnoRet: defaultErrno }),
    architectures: architecturesOf(value, facts.arch),
    flags: listOf(value, 'flags', 16).map((flag) => String(flag)),
    syscalls: rules.flatMap((rule, index) => parseRule(rule, `syscalls[${index}]`, facts)),
  };
}

function parseRule(value: unknown, path: string, facts: ProfileFacts): readonly SeccompRule[] {
  if (!isJsonObject(value)) throw invalid(`${path} is no object`);
  if (!applies(value, path, facts)) return [];
  const single = value['name'];
  const names = typeof single === 'string' ? [single] : listOf(value, 'names', MAX_NAMES);
  const errnoRet = optionalNumber(value, 'errnoRet', `${path}.errnoRet`);
  return [
    {
      names: names.map((name) => {
        if (typeof name !== 'string') throw invalid(`${path}.names holds what is no string`);
        return name;
      }),
      action: oneOf(ACTIONS, value['action'], `${path}.action`),
      ...(errnoRet === undefined ? {} : { errnoRet }),
      args: listOf(value, 'args', 6).map((argument, index) =>
        parseArgument(argument, `${path}.args[${index}]`),
      ),
    },
  ];
}

function parseArgument(value: unknown, path: string): SeccompArgument {
  if (!isJsonObject(value)) throw invalid(`${path} is no object`);
  const number = (key: string): bigint => {
    const given = value[key] ?? 0;
    if (typeof given !== 'number' || !Number.isInteger(given) || given < 0)
      throw invalid(`${path}.${key} is no number`);
    return BigInt(given);
  };
  const index = Number(number('index'));
  if (index > 5) throw invalid(`${path}.index is above 5`);
  return {
    index,
    value: number('value'),
    valueTwo: number('valueTwo'),
    op: oneOf(OPERATORS, value['op'], `${path}.op`),
  };
}

/** `includes` must all hold, of `excludes` none. */
function applies(rule: JsonObject, path: string, { capabilities, arch, kernel }: ProfileFacts): boolean {
  const filter = (key: 'includes' | 'excludes'): JsonObject => {
    const value = rule[key] ?? {};
    if (!isJsonObject(value)) throw invalid(`${path}.${key} is no object`);
    return value;
  };
  const [includes, excludes] = [filter('includes'), filter('excludes')];
  const wantedArches = listOf(includes, 'arches', 64);
  const minimum = includes['minKernel'];
  const has = (name: unknown): boolean => typeof name === 'string' && capabilities.includes(name);
  return (
    listOf(includes, 'caps', 64).every(has) &&
    (wantedArches.length === 0 || wantedArches.includes(arch)) &&
    (typeof minimum !== 'string' || isAtLeast(kernel, minimum)) &&
    !listOf(excludes, 'caps', 64).some(has) &&
    !listOf(excludes, 'arches', 64).includes(arch) &&
    !(typeof excludes['minKernel'] === 'string' && isAtLeast(kernel, excludes['minKernel']))
  );
}

function isAtLeast(kernel: string, minimum: string): boolean {
  const parts = (text: string): readonly number[] => text.split('.').slice(0, 2).map(Number);
  const [[major = 0, minor = 0], [needed = 0, below = 0]] = [parts(kernel), parts(minimum)];
  return major > needed || (major === needed && minor >= below);
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  ...{ amd64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' },
};

/** `archMap` names each architecture with those that its kernel runs as well. */
function architecturesOf(value: JsonObject, arch: string): readonly string[] {
  const plain = listOf(value, 'architectures', 32).map((each) => String(each));
  const map = listOf(value, 'archMap', 32);
  const own = map.find((each) => isJsonObject(each) && each['architecture'] === ARCHITECTURES[arch]);
  if (!isJsonObject(own)) return plain;
  return [ARCHITECTURES[arch] ?? '', ...listOf(own, 'subArchitectures', 8).map((each) => String(each))];
}

function listOf(value: JsonObject, key: string, limit: number): readonly unknown[] {
  const list = value[key] ?? [];
  if (!Array.isArray(list)) throw invalid(`${key} is no list`);
  if (list.length > limit) throw invalid(`${key} has more than ${limit} entries`);
  return list;
}

function optionalNumber(value: JsonObject, key: string, path: string): number | undefined {
  const number = value[key];
  if (number === undefined || number === null) return undefined;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > 4095)
    throw invalid(`${path} is no errno`);
  return number;
}

function oneOf<T extends string>(known: readonly T[], value: unknown, path: string): T {
  const found = known.find((each) => each === value);
  if (found === undefined)
    throw invalid(
      `${path} is ${value === undefined ? 'missing' : JSON.stringify(value)}, which is none of ${known.join(', ')}`,
    );
  return found;
}

function invalid(detail: string): TsbuildError {
  return new TsbuildError('SPEC_INVALID', `invalid seccomp profile: ${detail}`, {
    hint: "write it as docker's default profile is written",
  });
}

/** `linux.seccomp` of a config, checked. Spec: OCI runtime-spec v1.2, config-linux.md, "Seccomp". */
import { existsSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import { KNOWN_ACTIONS, KNOWN_FLAGS } from '../seccomp/compile-profile.ts';
import type {
  SeccompAction,
  SeccompArgument,
  SeccompOperator,
  SeccompProfile,
  SeccompRule,
} from '../seccomp/profile.ts';
import type { Fields } from './fields.ts';

export const OPERATORS: readonly SeccompOperator[] = [
  ...(['SCMP_CMP_NE', 'SCMP_CMP_LT', 'SCMP_CMP_LE', 'SCMP_CMP_EQ', 'SCMP_CMP_GE'] as const),
  ...(['SCMP_CMP_GT', 'SCMP_CMP_MASKED_EQ'] as const),
];

/** why: a filter turns on what Linux before 5.16 does against speculation, unasked; other runtimes leave it off, too. */
const WHERE_NONE_ARE_SAID = ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];

/** `listenerState` is what a listener is sent, around the status and the pid. */
export function parseSeccomp(
  seccomp: Fields,
  listenerState: (metadata: string) => SeccompProfile['listenerState'] & object,
): SeccompProfile {
  const listenerPath = seccomp.text('listenerPath');
  const defaultErrnoRet = seccomp.number('defaultErrnoRet');
  const defaultAction = actionOf(seccomp, 'defaultAction');
  const syscalls = seccomp.list('syscalls').map(ruleOf);
  const notifies = syscalls.filter(({ action }) => action === 'SCMP_ACT_NOTIFY');
  if (defaultAction === 'SCMP_ACT_NOTIFY') throw invalid('SCMP_ACT_NOTIFY cannot be used as default action');
  if (notifies.some(({ names }) => names.includes('write')))
    throw invalid('SCMP_ACT_NOTIFY cannot be used for the write syscall');
  // why: the process itself sends the descriptor with it.
  if (notifies.some(({ names }) => names.includes('sendmsg')))
    throw invalid('SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall');
  if (notifies.length > 0 && (listenerPath ?? '') === '')
    throw invalid('SCMP_ACT_NOTIFY needs a listenerPath');
  for (const flag of seccomp.texts('flags'))
    if (!KNOWN_FLAGS.includes(flag)) throw invalid(`seccomp flag ${JSON.stringify(flag)} is not known`);
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    architectures: seccomp.texts('architectures'),
    flags: seccomp.has('flags') ? seccomp.texts('flags') : WHERE_NONE_ARE_SAID,
    // why: runtimes differ on a listener for a filter that never notifies; one that is there gets it.
    ...(listenerPath === undefined || (notifies.length === 0 && !existsSync(listenerPath))
      ? {}
      : { listenerPath, listenerState: listenerState(seccomp.text('listenerMetadata') ?? '') }),
    syscalls,
  };
}

function invalid(message: string): TsbuildError {
  return new TsbuildError('SPEC_INVALID', message);
}

function actionOf(fields: Fields, name: string): SeccompAction {
  const text = fields.required(name, fields.text(name));
  if (KNOWN_ACTIONS.includes(text)) return text as SeccompAction;
  throw invalid(`${fields.nameOf(name)}: unknown action ${JSON.stringify(text)}`);
}

function ruleOf(rule: Fields): SeccompRule {
  const errnoRet = rule.number('errnoRet');
  return {
    names: rule.texts('names'),
    action: actionOf(rule, 'action'),
    ...(errnoRet === undefined ? {} : { errnoRet }),
    args: rule.list('args').map(argumentOf),
  };
}

function argumentOf(argument: Fields): SeccompArgument {
  const index = argument.number('index') ?? 0;
  if (!Number.isInteger(index) || index < 0 || index > 5)
    throw invalid(`${argument.nameOf('index')} must be 0 to 5`);
  const op = OPERATORS.find((each) => each === argument.text('op'));
  return {
    index,
    op: argument.required('op', op),
    value: unsigned(argument.number('value') ?? 0),
    valueTwo: unsigned(argument.number('valueTwo') ?? 0),
  };
}

function unsigned(value: number): bigint {
  return BigInt.asUintN(64, BigInt(Math.trunc(value)));
}

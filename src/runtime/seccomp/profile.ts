/** A seccomp profile as the OCI config has it: names and conditions, nothing resolved. */

export type SeccompAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_LOG'
  | 'SCMP_ACT_NOTIFY';

export type SeccompOperator =
  | 'SCMP_CMP_NE'
  | 'SCMP_CMP_LT'
  | 'SCMP_CMP_LE'
  | 'SCMP_CMP_EQ'
  | 'SCMP_CMP_GE'
  | 'SCMP_CMP_GT'
  | 'SCMP_CMP_MASKED_EQ';

export interface SeccompArgument {
  readonly index: number;
  readonly value: bigint;
  /** SCMP_CMP_MASKED_EQ: `(argument & value) == valueTwo`. */
  readonly valueTwo: bigint;
  readonly op: SeccompOperator;
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet?: number;
  /** All must hold. */
  readonly args: readonly SeccompArgument[];
}

export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number;
  /** SCMP_ARCH_*; empty: the machine's. */
  readonly architectures: readonly string[];
  /** SECCOMP_FILTER_FLAG_*. */
  readonly flags: readonly string[];
  readonly listenerPath?: string;
  /** The document that the listener gets: `a STATUS b PID c PID d`. */
  readonly listenerState?: readonly [string, string, string, string];
  readonly syscalls: readonly SeccompRule[];
}

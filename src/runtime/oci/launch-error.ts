/** What the launcher said, in the words that engines know from other OCI runtimes. */
import type { LaunchProblem } from '../../../native/launcher.ts';
import type { PlanOp } from '../../../native/plan-ops.ts';
import { TsbuildError } from '../../base/errors.ts';
import { errnoName } from '../layout.ts';
import type { ProcessSpec } from '../runtime.ts';

const TEXTS: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ESRCH: 'no such process',
  EIO: 'input/output error',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EAGAIN: 'resource temporarily unavailable',
  ENOMEM: 'cannot allocate memory',
  EACCES: 'permission denied',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'invalid cross-device link',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  ELOOP: 'too many levels of symbolic links',
  ETIME: 'it took longer than its timeout',
  ECONNREFUSED: 'connection refused',
};

export function runtimeError(
  { op, errno, text }: LaunchProblem,
  ops: readonly PlanOp[],
  spec: Pick<ProcessSpec, 'args'>,
): TsbuildError {
  const failed = ops[op];
  const name = errnoName(errno);
  const reason = TEXTS[name] ?? name;
  if (failed?.op === 'exec' || failed?.op === 'execCheck')
    return programError(name, reason, failed.op === 'exec' ? text : '', spec);
  const detail = text === '' ? '' : ` (${text})`;
  if (failed?.op === 'hook' || failed?.op === 'parentHook')
    return new TsbuildError(
      'HOOK_FAILED',
      `error running ${failed.subject}: ${JSON.stringify(failed.hook.path)}: ${name === 'ECANCELED' ? hookText(text) : reason}`,
    );
  if (failed?.op === 'scheduler' && name === 'EPERM')
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `unable to start container process: ${failed.subject}: ${reason}: process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus), and needs CAP_SYS_NICE`,
    );
  if (failed?.op === 'listener')
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `failed to connect with seccomp agent specified in the seccomp profile: ${reason}${detail}`,
    );
  if (failed?.op === 'rlimit')
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `error setting ${failed.subject}: ${reason}: only a process with CAP_SYS_RESOURCE can raise a hard limit`,
    );
  if (failed?.op === 'attach' && name === 'ELOOP' && /^\/(proc|sys|dev)(\/|$)/.test(failed.target))
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `filesystem ${JSON.stringify(failed.type)} must be mounted on ordinary directory: ${failed.target}`,
    );
  if (failed?.op === 'attach' && failed.bind)
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `unable to start container process: error during container init: error mounting ${JSON.stringify(failed.source)} to rootfs at ${JSON.stringify(failed.target)}: ${failed.subject}${detail}: ${reason}`,
    );
  if (failed?.op === 'cgroupTasks' || failed?.op === 'cgroupBorn')
    return new TsbuildError(
      'CONTAINER_START_FAILED',
      `error adding pid of the process to cgroups: open ${failed.path.replace(/\/tasks$/, '')}/cgroup.procs: ${reason}`,
    );
  return new TsbuildError(
    'CONTAINER_START_FAILED',
    `unable to start container process: ${failed?.subject ?? 'the plan'}${detail}: ${reason}`,
  );
}

function hookText(text: string): string {
  return text === 'killed by signal 31' ? 'signal: bad system call' : text;
}

/** `text`: a file that is there, though its interpreter is not. */
function programError(
  name: string,
  reason: string,
  text: string,
  { args: [program = ''] }: Pick<ProcessSpec, 'args'>,
): TsbuildError {
  const quoted = JSON.stringify(program);
  if (name === 'ENOENT' && text !== '')
    return new TsbuildError('COMMAND_NOT_FOUND', `exec ${text}: ${reason}`);
  if (name === 'ENOENT')
    return new TsbuildError(
      'COMMAND_NOT_FOUND',
      program.includes('/')
        ? `exec: ${quoted}: stat ${program}: no such file or directory`
        : `exec: ${quoted}: executable file not found in $PATH`,
    );
  return new TsbuildError('COMMAND_NOT_EXECUTABLE', `exec: ${quoted}: ${reason}`);
}

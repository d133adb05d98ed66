/**
 * The runtime contract: a container spec in, a running process out. `RUN` and `tsbuild run` use the same one.
 *
 * The spec is complete: nothing is looked up by the runtime (names of users are resolved by `users.ts`,
 * defaults are laid out by `default-spec.ts`), so that what is run can be printed, compared and tested.
 */
import type { Mount } from '../../native/mount.ts';
import type { CgroupDescription } from './cgroups/cgroup.ts';

export type Signal = NodeJS.Signals;

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

export interface Rlimit {
  /** As in setrlimit(2), e.g. `RLIMIT_NOFILE`. */
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

/** A further mount in the container; targets are resolved inside its root, never by string. */
export type ContainerMount =
  | {
      readonly kind: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
      /** Sub-mounts of the source come along (rbind). */
      readonly recursive: boolean;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly size?: number;
      readonly mode: number;
      readonly options?: readonly string[];
    }
  /**
   * Part of another file system (RUN --mount=type=bind,from=stage): `mounts` is assembled out of sight inside the
   * container's mount namespace, `source` resolved inside it (as with RESOLVE_IN_ROOT), and that place mounted.
   */
  | {
      readonly kind: 'assembled';
      readonly mounts: readonly Mount[];
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
    }
  /** A small file with this content (hosts, resolv.conf, secrets), on a tmpfs, never in the snapshot. */
  | {
      readonly kind: 'file';
      readonly target: string;
      readonly content: string | Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly readonly: boolean;
    };

/** `none`: a namespace of its own with nothing but a loopback. `join`: the namespace at this path. */
export type ContainerNetwork = 'host' | 'none' | { readonly join: string };

export interface ContainerSpec {
  /** Lower-case letters, digits, `-`; names cgroups and messages. */
  readonly id: string;
  /** How to make the root: mounted by the launcher inside the container's mount namespace. */
  readonly root: { readonly mounts: readonly Mount[]; readonly readonly: boolean };
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Created (0755 root) where it is missing. */
  readonly cwd: string;
  readonly user: ContainerUser;
  readonly umask: number;
  readonly hostname: string;
  readonly terminal: boolean;
  readonly network: ContainerNetwork;
  /** Capability names (`CAP_CHOWN`) of the bounding set; effective and permitted only for uid 0. */
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly seccomp: 'default' | 'unconfined';
  readonly rlimits: readonly Rlimit[];
  /** Bytes of /dev/shm; absent: 64 MiB. */
  readonly shmSize?: number;
  readonly mounts: readonly ContainerMount[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly oomScoreAdj?: number;
  /** Limits (see cgroups/describe.ts); removing it afterwards is the caller's. Absent: where the caller is. */
  readonly cgroup?: CgroupDescription;
}

/** How the process ended: exactly one of the two. */
export type ExitStatus =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number };

/**
 * `inherit`: the caller's own descriptors (without `input`, stdin is /dev/null). `terminal`: a pty whose other end is copied to the caller's terminal
 * (raw mode, window size). `capture`: output arrives in the callbacks, stdin is /dev/null.
 */
export type Stdio =
  | { readonly kind: 'inherit'; readonly input: boolean }
  | { readonly kind: 'terminal' }
  | { readonly kind: 'capture'; readonly onOutput: (stream: 'stdout' | 'stderr', data: Uint8Array) => void };

export interface Container extends AsyncDisposable {
  /** In the host's pid namespace. */
  readonly pid: number;
  /** Settles when the process and everything in its pid namespace are gone and its output is delivered. */
  readonly exited: Promise<ExitStatus>;
  kill(signal: Signal): void;
}

export interface Runtime extends AsyncDisposable {
  /**
   * Resolves when the program was exec'ed. Throws CONTAINER_START_FAILED, COMMAND_NOT_FOUND (no such file),
   * COMMAND_NOT_EXECUTABLE, SPEC_INVALID; messages name the part of the spec and the errno. When `signal` fires
   * the container is killed. `onWarning` hears what was degraded (a hard rlimit that cannot be raised).
   */
  start(
    spec: ContainerSpec,
    stdio: Stdio,
    options: { readonly signal: AbortSignal; readonly onWarning?: (message: string) => void },
  ): Promise<Container>;
}

/**
 * The runtime contract: a container spec in, a running process out. `RUN` and `tsbuild run` use the same one.
 *
 * The spec is complete: nothing is looked up by the runtime (names of users are resolved by `users.ts`,
 * defaults are laid out by `default-spec.ts`), so that what is run can be printed, compared and tested.
 */
import type { Mount } from '../../native/mount.ts';
import type { NetCall } from '../../native/net-call.ts';
import type { CgroupDescription } from './cgroups/cgroup.ts';
import type { SeccompProfile } from './seccomp/profile.ts';

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** Instead of the additional ones: those of whoever starts the container. */
  readonly keepGroups?: boolean;
}

export interface Rlimit {
  /** As in setrlimit(2), e.g. `RLIMIT_NOFILE`. */
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

/** One entry of the OCI config's mounts, its options understood. Attributes are MOUNT_ATTR_*. */
export interface Attachment {
  /** File system type; ignored for binds. */
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly bind: boolean;
  /** With what is mounted below the source. */
  readonly recursive: boolean;
  /** What lies at the target is copied into the new file system. */
  readonly copyUp: boolean;
  /** Only attributes of what is mounted there change. */
  readonly remount: boolean;
  readonly set: number;
  readonly clear: number;
  readonly setBelow: number;
  readonly clearBelow: number;
  /** MS_*; 0: as it is. */
  readonly propagation: number;
  /** File system options; an empty value is a flag. */
  readonly options: readonly (readonly [string, string])[];
  /** The ids of the source's files are mapped. */
  readonly idMaps?: IdMaps & { readonly recursive: boolean };
  /** A symlink is mounted itself, or mounted on, instead of followed. */
  readonly sourceNoFollow?: boolean;
  readonly targetNoFollow?: boolean;
  /** The new file system's root has the mode of the directory that it hides. */
  readonly keepMode?: boolean;
  /** The source is opened by the launcher's parent process, outside a user namespace. */
  readonly outside?: boolean;
  /** The launcher opens the source in the container's mount namespace, where earlier mounts have brought it. */
  readonly inside?: boolean;
  /** The source is in the root, named by its path on the host: symlinks on the way are the root's. */
  readonly sourceInRoot?: boolean;
  /** With `outside`: EPERM where `clear` would take away what the source forbids, or change its access times. */
  readonly locked?: boolean;
  /** The source is a tmpfs or the message queues in the root of this process (start time in clock ticks after boot), and shared with it. */
  readonly of?: { readonly pid: number; readonly started: bigint };
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
  /** A symlink that says `to`; one that is there stays. */
  | { readonly kind: 'symlink'; readonly target: string; readonly to: string }
  /** Any mount of the OCI config. */
  | ({ readonly kind: 'attach' } & Attachment)
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

export type NamespaceKind = 'mount' | 'cgroup' | 'uts' | 'ipc' | 'pid' | 'network' | 'user' | 'time';
/** `host`: the caller's. `join`: the namespace at this path. */
export type NamespaceChoice = 'new' | 'host' | { readonly join: string };

/** As in uid_map(5): `size` ids from `inside` on are those from `outside` on. */
export interface IdMap {
  readonly inside: number;
  readonly outside: number;
  readonly size: number;
}

export interface IdMaps {
  readonly uids: readonly IdMap[];
  readonly gids: readonly IdMap[];
  /** For mounts alone: they are those of the user namespace at this path, and the lists are empty. */
  readonly namespace?: string;
}

/** Nanoseconds are below 10⁹; seconds may be negative. */
export interface TimeOffset {
  readonly secs: number;
  readonly nanosecs: number;
}

export interface DeviceNode {
  readonly path: string;
  readonly type: 'char' | 'block' | 'fifo';
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Capability names per set; `capabilities` of a spec stands for the usual ones. */
export interface CapabilitySets {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly permitted: readonly string[];
  readonly inheritable: readonly string[];
  readonly ambient: readonly string[];
}

/** A program that is told the container's state on its standard input; paths are those of the phase's place. */
export interface Hook {
  readonly path: string;
  /** argv, its first word included; empty: the path. */
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly timeoutMs?: number;
}

export interface ContainerHooks {
  /** On the host, while the container is there but has no program yet; the old name of the next phase. */
  readonly prestart: readonly Hook[];
  /** The same (createRuntime). */
  readonly runtime: readonly Hook[];
  /** In the container's namespaces, with the host's root. */
  readonly container: readonly Hook[];
  /** In the container, before its program. */
  readonly start: readonly Hook[];
  readonly streams?: HookStreams;
}

/** Files of the host that get what hooks write, appended; absent: where the runtime itself writes. */
export interface HookStreams {
  readonly stdout?: string;
  readonly stderr?: string;
}

export interface NetDevice {
  readonly name: string;
  readonly inside: string;
}

/** Numbers of sched_setattr(2). */
export interface Scheduling {
  readonly policy: number;
  readonly nice: number;
  readonly priority: number;
  readonly flags: bigint;
  readonly runtime: bigint;
  readonly deadline: bigint;
  readonly period: bigint;
}

/** What a process is and may do: of a container's first one as of a further one. */
export interface ProcessSpec {
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Created (0755 root) where it is missing. */
  readonly cwd: string;
  readonly user: ContainerUser;
  readonly umask: number;
  readonly terminal: boolean;
  /** Rows and columns of a terminal at its start. */
  readonly consoleSize?: { readonly rows: number; readonly columns: number };
  /** The terminal adds no carriage return to a newline: whoever reads its master does, where it is needed. */
  readonly plainTerminal?: boolean;
  /** Who gets the terminal's master: a unix socket; absent: whoever started the container. */
  readonly consoleSocket?: string;
  /**
   * Whose the standard streams become, as the host numbers them; absent: they stay whose they are. `files`: also where
   * they have a name, which others may know them by; otherwise pipes alone.
   */
  readonly streamsOwner?: { readonly uid: number; readonly gid: number; readonly files: boolean };
  /** Who gets a pidfd of the process: a unix socket. */
  readonly pidfdSocket?: string;
  /** Capability names (`CAP_CHOWN`) of the bounding set; effective and permitted only for uid 0. */
  readonly capabilities: readonly string[];
  /** Instead of `capabilities`, exactly. */
  readonly capabilitySets?: CapabilitySets;
  readonly noNewPrivileges: boolean;
  /** `default` is docker's profile for these capabilities. */
  readonly seccomp: 'default' | 'unconfined' | SeccompProfile;
  readonly rlimits: readonly Rlimit[];
  /** An rlimit that cannot be set is an error instead of a warning. */
  readonly strictRlimits?: boolean;
  readonly oomScoreAdj?: number;
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
  /** Of personality(2). */
  readonly personality?: number;
  readonly scheduling?: Scheduling;
  /** Of ioprio_set(2). */
  readonly ioPriority?: number;
  /** Bit n of byte n/8: cpu n. */
  readonly cpuAffinity?: Uint8Array;
  /** The same, from the beginning; `all`: every processor that the cgroup allows, whatever the caller's are. */
  readonly initialAffinity?: Uint8Array | 'all';
  /** Of set_mempolicy(2). */
  readonly memoryPolicy?: { readonly mode: number; readonly nodes: Uint8Array };
  /** HOME is taken from the container's /etc/passwd where the environment has none. */
  readonly findHome?: boolean;
  /** Descriptors from `first` on of the launcher get these numbers in the program. */
  readonly preserveFds?: { readonly first: number; readonly targets: readonly number[] };
  /** Limits (see cgroups/describe.ts); removing it afterwards is the caller's. Absent: where the caller is. */
  readonly cgroup?: CgroupDescription;
  /** The process outlives the launcher that starts it, and its caller. */
  readonly survive?: boolean;
}

export interface ContainerSpec extends ProcessSpec {
  /** Lower-case letters, digits, `-`; names cgroups and messages. */
  readonly id: string;
  /** How to make the root: mounted by the launcher inside the container's mount namespace. */
  readonly root: {
    readonly mounts: readonly Mount[];
    readonly readonly: boolean;
    /** Its files' ids are mapped, for a new user namespace. */
    readonly idMaps?: IdMaps;
    /** Where it is attached while it is built, instead of the machine's mount point. */
    readonly point?: string;
    /** MS_* flags: of what the container's mount namespace gets of the host's mounts; absent: private. */
    readonly propagation?: number;
    /** The same of "/" in the container; absent: as it comes. */
    readonly ownPropagation?: number;
    /** False: it covers the old root instead (a host on an initramfs). */
    readonly pivot?: boolean;
  };
  /** Empty: as it is. */
  readonly hostname: string;
  readonly domainname?: string;
  readonly network: ContainerNetwork;
  /** Absent ones: mount, uts, ipc, pid and cgroup are new, user and time the host's; network as `network` says. */
  readonly namespaces?: Partial<Record<Exclude<NamespaceKind, 'network'>, NamespaceChoice>>;
  /** A socket that is made for sd_notify(3), and the service manager's socket, which what is said there is for. */
  readonly notify?: { readonly path: string; readonly manager: string };
  /** Network devices of the host's that the container gets, with the names that they have there. */
  readonly netDevices?: readonly NetDevice[];
  /** For a new user namespace. */
  readonly idMaps?: IdMaps;
  /** For a new time namespace. */
  readonly timeOffsets?: { readonly monotonic?: TimeOffset; readonly boottime?: TimeOffset };
  /** False: /proc, /sys and /dev are in `mounts`, in their order. */
  readonly kernelMounts?: boolean;
  /** Bytes of /dev/shm; 0: there is none; absent: 64 MiB. */
  readonly shmSize?: number;
  readonly mounts: readonly ContainerMount[];
  /** Beside the usual ones. */
  readonly devices?: readonly DeviceNode[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  /** By name (`net.ipv4.ip_forward`). */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly hooks?: ContainerHooks;
  /** The state document of hooks and filters' listeners, around the status and the pid. */
  readonly state?: readonly [string, string, string];
  /** The program waits for a connection to this socket, which is made. */
  readonly startSocket?: string;
  /** Name of a new session keyring. */
  readonly keyring?: string;
  /** A process of ours is pid 1: it hands signals on to the program and reaps orphans. */
  readonly init?: boolean;
}

/** A further process in a running container. */
export interface ExecSpec extends ProcessSpec {
  readonly target: {
    readonly pid: number;
    /** In clock ticks after boot, field 22 of /proc/PID/stat: another process with this pid is refused. */
    readonly started: bigint;
    /** CLONE_NEW* of the namespaces that it does not share with the caller, see `namespacesOf`. */
    readonly namespaces: number;
  };
}

/** Whether the kernel killed in a container for want of memory (cgroups/oom.ts). */
export interface MemoryReport {
  /** Processes that were killed for want of memory since the cgroup was made. */
  readonly kills: number;
  /** Bytes; undefined: no limit of its own. */
  readonly limit: number | undefined;
  /** Most bytes that were in use at a time; undefined where the kernel does not tell (v2 before 5.19). */
  readonly peak: number | undefined;
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
  | {
      readonly kind: 'terminal';
      /** Of the caller's streams; `none`: what the program writes is read to nowhere. Absent: both. */
      readonly streams?: 'output' | 'none';
      readonly leave?: LeaveTerminal;
    }
  | { readonly kind: 'capture'; readonly onOutput: (stream: 'stdout' | 'stderr', data: Uint8Array) => void };

/**
 * Keys that leave the terminal of a process that survives; `left` is told, also where nobody reads it any more, and
 * `exited` stays unsettled.
 */
export interface LeaveTerminal {
  readonly keys: Uint8Array;
  readonly left: (why: 'keys' | 'unread') => void;
}

export interface Container extends AsyncDisposable {
  /** In the host's pid namespace. */
  readonly pid: number;
  /** Settles when the process and everything in its pid namespace are gone and its output is delivered. */
  readonly exited: Promise<ExitStatus>;
  kill(signal: NodeJS.Signals): void;
}

export interface StartOptions {
  /** When it fires, the process is killed. */
  readonly signal: AbortSignal;
  /** Hears what was degraded (a hard rlimit that cannot be raised). */
  readonly onWarning?: (message: string) => void;
}

export interface Runtime extends AsyncDisposable {
  /**
   * Resolves when the program was exec'ed. Throws CONTAINER_START_FAILED, COMMAND_NOT_FOUND (no such file),
   * COMMAND_NOT_EXECUTABLE, SPEC_INVALID; messages name the part of the spec and the errno.
   */
  start(spec: ContainerSpec, stdio: Stdio, options: StartOptions): Promise<Container>;
  /**
   * The same for a further process of a running container; disposing of it kills that process alone, unless it
   * survives: then it is left alone.
   */
  exec(spec: ExecSpec, stdio: Stdio, options: StartOptions): Promise<Container>;
  /**
   * Has network operations done by the process that starts captured containers: a namespace that they make lives,
   * pinned nowhere, as long as the runtime, and its path is good for captured containers alone.
   */
  readonly network: NetCall;
  /** Answers names in such a namespace. Throws NETWORK_UNAVAILABLE. */
  serveNames(namespace: string, config: string): Promise<void>;
}

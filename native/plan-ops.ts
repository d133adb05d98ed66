/**
 * The operations of a plan, as data. What each one does is in launch/plan.h.
 *
 * Each carries `subject`, the part of the container spec that it comes from: an error of the launcher names an
 * operation by its index, and the subject makes a message of it.
 */
import type { Mount } from './mount.ts';

/** CLONE_NEW* of clone(2). */
export const NAMESPACE = {
  time: 0x00000080,
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
} as const;

/** MOUNT_ATTR_* of mount_setattr(2). */
export const ATTRIBUTE = { readonly: 1, nosuid: 2, nodev: 4, noexec: 8 } as const;

/** MS_* of mount(2) that change propagation; `recursive` is added to one of the others. */
export const PROPAGATION = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  recursive: 1 << 14,
} as const;

/** HOOK_* of plan.h. */
export const HOOK_PHASE = { runtime: 1, container: 2, start: 3 } as const;

/** Text around the status and the pid in a state document, see OP_STATE. */
export type StateParts = readonly [string, string, string];

export interface HookCall {
  readonly phase: number;
  /** 0: no limit. */
  readonly timeoutMs: number;
  readonly path: string;
  /** argv, its first word included. */
  readonly args: readonly string[];
  readonly env: readonly string[];
}

/** The n-th tree that the parent made, from 1. */
export interface RootTree {
  readonly kind: 'tree';
  readonly tree: number;
}

export type PlanOp = { readonly subject: string } & (
  | {
      readonly op: 'namespaces';
      readonly flags: number;
      /** Of "/" in the new mount namespace; absent: private, recursively. */
      readonly propagation?: number;
      /** The process outlives the launcher. */
      readonly survive?: boolean;
      /** It starts where an `enter` brought it: there is a root already. */
      readonly here?: boolean;
      /** The mount namespace is not its own: nothing there changes but for the root. */
      readonly shared?: boolean;
      /** What happens on the way is told (`told` of LaunchEvents). */
      readonly tells?: boolean;
    }
  /** A tree that a program serves (served.h); made by the parent. */
  | { readonly op: 'servedTree'; readonly program: string; readonly options: string }
  /** `point`: an empty directory of the host where the root is attached while it is built. */
  | { readonly op: 'root'; readonly mount: Mount | RootTree; readonly point: string }
  /**
   * A tree that is a root whose ids are mapped (`idmap`: number of an `idmap` op); done by the parent. `uid`, `gid`:
   * what its root is outside.
   */
  | {
      readonly op: 'rootTree';
      readonly mount: Mount;
      readonly idmap: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'mount';
      readonly type: string;
      readonly target: string;
      readonly attributes: number;
      readonly options: readonly (readonly [string, string])[];
    }
  | {
      readonly op: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
      readonly recursive: boolean;
    }
  | {
      readonly op: 'assembled';
      readonly mount: Mount | RootTree;
      readonly point: string;
      readonly inside: string;
      readonly target: string;
      readonly readonly: boolean;
    }
  | {
      readonly op: 'file';
      readonly target: string;
      readonly content: Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly readonly: boolean;
    }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | {
      readonly op: 'mknod';
      readonly path: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    }
  | { readonly op: 'symlink'; readonly target: string; readonly path: string }
  | { readonly op: 'mask' | 'readonly' | 'detach'; readonly path: string }
  | {
      readonly op:
        | 'rootReadonly'
        | 'pivot'
        | 'chroot'
        | 'chrootAlone'
        /** Instead of `exec`. */
        | 'leave'
        | 'loopback'
        | 'noNewPrivs'
        | 'execCheck'
        | 'waitStart'
        | 'ready'
        /** What comes after it happens in a child of the container's first process, which stays as its init. */
        | 'init';
    }
  | {
      readonly op: 'terminal';
      readonly uid: number;
      readonly gid: number;
      readonly rows?: number;
      readonly columns?: number;
      /** No carriage return is added to a newline. */
      readonly plain?: boolean;
    }
  | { readonly op: 'hostname' | 'domainname' | 'keyring'; readonly name: string }
  | { readonly op: 'cwd'; readonly path: string }
  | {
      readonly op: 'rlimit';
      readonly resource: number;
      readonly soft: number;
      readonly hard: number;
      /** A limit that cannot be set is an error; else it is set as far as it may be. */
      readonly must?: boolean;
    }
  | { readonly op: 'umask'; readonly mask: number }
  | { readonly op: 'oom'; readonly score: number }
  | {
      readonly op: 'credentials';
      readonly uid: number;
      readonly gid: number;
      readonly groups: readonly number[];
      /** The groups stay the launcher's. */
      readonly keepGroups?: boolean;
      readonly bounding: bigint;
      readonly effective: bigint;
      /** As `effective` where absent. */
      readonly permitted?: bigint;
      readonly inheritable?: bigint;
      readonly ambient?: bigint;
    }
  | { readonly op: 'seccomp'; readonly program: Uint8Array; readonly flags?: number }
  | {
      readonly op: 'attach';
      readonly bind: boolean;
      readonly recursive: boolean;
      readonly copyUp: boolean;
      readonly remount: boolean;
      readonly sourceNoFollow: boolean;
      /** `source` is a path below the root's point, for what is there in the root. */
      readonly sourceInRoot: boolean;
      readonly targetNoFollow: boolean;
      /** The new file system's root has the mode of what it hides. */
      readonly keepMode: boolean;
      /** MOUNT_ATTR_*, for the mount alone and for all below it. */
      readonly set: number;
      readonly clear: number;
      readonly setBelow: number;
      readonly clearBelow: number;
      /** Of PROPAGATION; 0: as it is. */
      readonly propagation: number;
      /** 1 for the plan's first `tree`; 0: the source is opened inside. */
      readonly tree: number;
      /** The launcher opens the source in the container's mount namespace; `tree` is the `idmap` for it, or 0. */
      readonly inside: boolean;
      /** With `inside`: ids are mapped below, too. */
      readonly idmapRecursive: boolean;
      /** EPERM where attributes would take away what the source forbids. */
      readonly locked: boolean;
      readonly type: string;
      readonly source: string;
      readonly target: string;
      readonly options: readonly (readonly [string, string])[];
    }
  /** Waits for the parent's hooks of this phase. */
  | { readonly op: 'sync'; readonly phase: number }
  | { readonly op: 'hook' | 'parentHook'; readonly hook: HookCall }
  /** `name` as a path below /proc/sys. */
  | { readonly op: 'sysctl'; readonly name: string; readonly value: string }
  | { readonly op: 'personality'; readonly value: number }
  | {
      readonly op: 'scheduler';
      readonly policy: number;
      readonly nice: number;
      readonly priority: number;
      readonly flags: bigint;
      readonly runtime: bigint;
      readonly deadline: bigint;
      readonly period: bigint;
    }
  | { readonly op: 'ioPriority'; readonly value: number }
  | { readonly op: 'affinity'; readonly mask: Uint8Array }
  | { readonly op: 'memoryPolicy'; readonly mode: number; readonly mask: Uint8Array }
  /** A file below /proc/thread-self/attr. */
  | { readonly op: 'label'; readonly file: string; readonly value: string }
  /** A device (`node`: made by the parent, as a mount for an `attach`; ids are the host's). */
  | {
      readonly op: 'device' | 'node';
      readonly path: string;
      /** With the type's bits. */
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
      readonly uid: number;
      readonly gid: number;
    }
  /** The environment's last entry becomes HOME as the container's /etc/passwd has it. */
  | { readonly op: 'home'; readonly uid: number }
  | { readonly op: 'state'; readonly parts: StateParts }
  /** Descriptors from `first` on of the launcher get these numbers in the program. */
  | { readonly op: 'preserve'; readonly first: number; readonly targets: readonly number[] }
  | { readonly op: 'rootPropagation'; readonly flags: number }
  /** The namespaces in `flags` of a process, instead of new ones. */
  | { readonly op: 'enter'; readonly pid: number; readonly started: bigint; readonly flags: number }
  /** A mount opened by the parent, on the host, for an `attach`; `idmap` is 1 for the plan's first. */
  | {
      readonly op: 'tree';
      readonly source: string;
      readonly recursive: boolean;
      readonly idmap: number;
      readonly idmapRecursive: boolean;
      readonly noFollow: boolean;
    }
  /** A tmpfs, or message queues, that another container has, cloned for an `attach` by the parent: `path` in that process's root. */
  | { readonly op: 'foreignTree'; readonly pid: number; readonly started: bigint; readonly path: string }
  /** Lines of uid_map and gid_map, see user_namespaces(7); `idmap`: or '' and the path of a namespace that has them. */
  | { readonly op: 'idmap' | 'idMaps'; readonly uids: string; readonly gids: string }
  | { readonly op: 'timeOffsets'; readonly text: string }
  | { readonly op: 'startSocket' | 'console' | 'pidfd'; readonly path: string }
  | {
      readonly op: 'listener';
      readonly path: string;
      readonly parts: readonly [string, string, string, string];
    }
  /** A network device of the launcher's goes into the child's network namespace, with its addresses. */
  | { readonly op: 'netDevice'; readonly name: string; readonly inside: string }
  /** A socket for the child's sd_notify(3), whose words go to the service manager's. */
  | { readonly op: 'notify'; readonly path: string; readonly manager: string }
  /** Files that get what hooks write; empty: where the launcher writes. */
  | { readonly op: 'hookStreams'; readonly stdout: string; readonly stderr: string }
  /** Of the launcher's standard streams, as the host numbers them. */
  | { readonly op: 'streamsOwner'; readonly uid: number; readonly gid: number; readonly files: boolean }
  | { readonly op: 'parentOom'; readonly score: number }
  /** The namespace at `path` (flag as in NAMESPACE) instead of a new one. */
  | { readonly op: 'join'; readonly namespace: number; readonly path: string }
  /** Done by the parent while the child waits: the child's pid goes into this cgroup.procs file. */
  | { readonly op: 'cgroupEnter'; readonly path: string }
  /**
   * Every level of `path` below a hierarchy's mount point. A cgroup that is there already must have no process in it
   * (unless `shared`: EBUSY). `cpuset`: a v1 hierarchy whose new cgroups need processors of their parent.
   */
  | {
      readonly op: 'cgroupMake';
      readonly mountPoint: string;
      readonly path: string;
      readonly cpuset: boolean;
      readonly shared: boolean;
    }
  /** v2: subtree_control of the mount point and of every level down to `path`. */
  | {
      readonly op: 'cgroupEnable';
      readonly mountPoint: string;
      readonly path: string;
      readonly required: readonly string[];
      readonly optional: readonly string[];
    }
  | {
      readonly op: 'cgroupWrite';
      /** The first whose file is there. */
      readonly choices: readonly (readonly [file: string, value: string])[];
      /** A file that is not there, or refuses, is no error. */
      readonly optional: boolean;
    }
  /**
   * v1: microseconds of realtime for a cgroup, and as much more for its parent (empty: it has its own) first. `period` 0:
   * as it is. Nothing is lost here where it is refused.
   */
  | {
      readonly op: 'cgroupRealtime';
      readonly directory: string;
      readonly parent: string;
      readonly runtime: number;
      readonly period: number;
    }
  /** A v1 `tasks` file that `cgroupSelf` enters. */
  | { readonly op: 'cgroupTasks'; readonly path: string }
  /** Directory of the v2 cgroup that the child is born in. */
  | { readonly op: 'cgroupBorn'; readonly path: string }
  | { readonly op: 'cgroupDevices'; readonly directory: string; readonly program: Uint8Array }
  /** Done by the child, before it makes its cgroup namespace, before it mounts anything. */
  | { readonly op: 'cgroupSelf' | 'cgroupNamespace' }
  | {
      readonly op: 'exec';
      readonly args: readonly string[];
      readonly env: readonly string[];
      readonly candidates: readonly string[];
    }
);

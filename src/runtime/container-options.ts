/**
 * What `run` and `create` can be asked for: parsed and checked one by one, but nothing looked up yet. Names of
 * users, volumes and other containers, paths of devices, the image's own wishes come in when it is created.
 */
import type { Rlimit } from './runtime.ts';

export type Propagation = 'private' | 'rprivate' | 'slave' | 'rslave' | 'shared' | 'rshared';

/** `-v`, `--mount`, `--tmpfs`. Targets are absolute and clean. */
export type MountRequest =
  | {
      readonly kind: 'bind';
      /** Absolute path on the host. */
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
      readonly recursive: boolean;
      /** What is mounted below the source stays writable where the mount is read-only. */
      readonly writableBelow?: boolean;
      readonly propagation?: Propagation;
      /** `-v` makes a missing directory, `--mount` does not. */
      readonly createSource: boolean;
    }
  | {
      readonly kind: 'volume';
      /** Absent: an anonymous one. */
      readonly name?: string;
      readonly target: string;
      readonly readonly: boolean;
      /** Without what the image has at the target. */
      readonly nocopy: boolean;
      /** Directory inside the volume; relative, clean. */
      readonly subpath?: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly options: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly readonly: boolean;
      /** Bytes; absent: half of the memory. */
      readonly size?: number;
      /** Absent: that of the directory that it hides, 1777 where the image has none. */
      readonly mode?: number;
      /** Further options that were checked, e.g. `noexec`, `uid=1000`. */
      readonly options: readonly string[];
    };

/** `--volumes-from`. */
export interface VolumesFrom {
  readonly container: string;
  readonly readonly?: boolean;
}

/** A namespace: one of its own, the host's, or that of another container (by name or id). */
export type NamespaceChoice =
  | { readonly kind: 'private' | 'host' }
  | { readonly kind: 'container'; readonly container: string };

/**
 * Who is who: `host` no user namespace; `auto` root inside is an unprivileged range of its own; `nomap` as auto, and
 * the calling user is not mapped; `keep-id` the caller's ids stay what they are.
 */
export type UserNamespaceChoice =
  | { readonly kind: 'host' | 'nomap' }
  | { readonly kind: 'auto'; readonly size?: number }
  | { readonly kind: 'keep-id'; readonly uid?: number; readonly gid?: number };

/** Added to the host's clocks; 0 ≤ nanoseconds < 1e9. */
export interface ClockOffset {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface NamespaceOptions {
  /** undefined: what is the default for it, which may be the network's (uts). */
  readonly pid?: NamespaceChoice;
  readonly ipc?: NamespaceChoice | { readonly kind: 'none' | 'shareable' };
  readonly uts?: NamespaceChoice;
  readonly cgroup?: NamespaceChoice;
  readonly user?: UserNamespaceChoice;
  readonly timeOffsets?: { readonly monotonic?: ClockOffset; readonly boottime?: ClockOffset };
}

export interface SecurityOptions {
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly privileged: boolean;
  readonly noNewPrivileges: boolean;
  readonly seccomp:
    | { readonly kind: 'default' | 'unconfined' }
    /** The JSON text of a profile, as docker and OCI write them. */
    | { readonly kind: 'profile'; readonly path: string; readonly text: string };
  /** Nothing of /proc and /sys is masked or read-only. */
  readonly systemPathsUnconfined: boolean;
  /** `label=…`, without the key; empty: none given. */
  readonly labels: readonly string[];
  readonly apparmor?: string;
  /** As they were written; inspect shows them. */
  readonly given: readonly string[];
}

/** `--device`: on the host, in the container, and any of `rwm`. */
export interface DeviceRequest {
  readonly source: string;
  readonly target: string;
  readonly access: string;
}

/** `--device-cgroup-rule`; absent numbers stand for all. */
export interface DeviceRuleRequest {
  readonly type: 'a' | 'b' | 'c';
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

/** A rate for one device, named by its path on the host. */
export interface DeviceRateRequest {
  readonly path: string;
  /** Bytes or operations per second. */
  readonly rate: number;
}

/** Sizes in bytes, times in microseconds; -1: unlimited. Absent: not limited. */
export interface LimitOptions {
  readonly memory?: number;
  /** Memory and swap together. */
  readonly memorySwap?: number;
  readonly memoryReservation?: number;
  readonly memorySwappiness?: number;
  readonly oomKillDisable?: boolean;
  /** Billionths of a processor. */
  readonly nanoCpus?: number;
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly pids?: number;
  readonly blkioWeight?: number;
  readonly blkioWeightDevice?: readonly { readonly path: string; readonly weight: number }[];
  readonly deviceReadBps?: readonly DeviceRateRequest[];
  readonly deviceWriteBps?: readonly DeviceRateRequest[];
  readonly deviceReadIops?: readonly DeviceRateRequest[];
  readonly deviceWriteIops?: readonly DeviceRateRequest[];
}

export interface IsolationOptions {
  readonly mounts: readonly MountRequest[];
  readonly volumesFrom: readonly VolumesFrom[];
  readonly namespaces: NamespaceOptions;
  readonly security: SecurityOptions;
  readonly devices: readonly DeviceRequest[];
  readonly deviceRules: readonly DeviceRuleRequest[];
  readonly readonlyRoot: boolean;
  /** -1 is unlimited. */
  readonly rlimits: readonly Rlimit[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** Bytes of /dev/shm. */
  readonly shmSize?: number;
  /** Names or numbers of further groups. */
  readonly groups: readonly string[];
  readonly hostname?: string;
  readonly domainname?: string;
  readonly limits: LimitOptions;
  readonly oomScoreAdj?: number;
  /** Name or path of a cgroup that the container's own is made in; of systemd, a slice. */
  readonly cgroupParent?: string;
  /** Absent: cgroupfs. */
  readonly cgroupDriver?: 'cgroupfs' | 'systemd';
}

export interface HealthOptions {
  /** `none`: switched off. Otherwise a command for the shell. */
  readonly command?: string;
  readonly none: boolean;
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly startPeriodMs?: number;
  readonly startIntervalMs?: number;
  readonly retries?: number;
}

/**
 * A container on disk: what was asked for (config.json) and what happened (state.json, health.json).
 *
 *   ROOT/containers/<id>/config.json   written by tsbuild: complete, enough to start the container again
 *                        state.json    written by its monitor, or by tsbuild where no monitor lives
 *                        health.json   written by its monitor
 *                        layer/        the writable layer (the snapshotter's, see `prepare`'s `home`)
 *                        log, log.1…   `<RFC 3339 with nanoseconds> stdout|stderr F|P <text>`, rotated by the monitor
 *                        memory.json   where the kernel killed something in it for want of memory: how much there was
 *                        held.json     there while networks or cgroups are allocated for it
 *                        lock          flock'ed by the monitor for as long as it lives
 *                        ctl.sock      the monitor's door
 *   ROOT/containers/names/<name>       the id: created exclusively, so a name has one owner
 *
 * Every change is a whole new file, renamed into place: a reader sees the old one or the new one.
 */
import { startTimeOf } from '../base/owner.ts';
import type { SnapshotName } from '../../snapshotter/snapshotter.ts';
import type { CgroupPlace } from './cgroups/cgroup.ts';
import type { IsolationOptions } from './container-options.ts';
import type { ContainerInput } from './default-spec.ts';
import type { DnsOptions, NetworkChoice, PortRequest } from './network/contract.ts';
import type { Signal } from './signals.ts';

/** 64 hex digits. */
export type ContainerID = string;

export type RestartPolicy =
  | { readonly name: 'no' | 'always' | 'unless-stopped' }
  /** `maximumRetries` 0: without an end. */
  | { readonly name: 'on-failure'; readonly maximumRetries: number };

/** All times in milliseconds. */
export interface HealthCheck {
  /** The command, with its shell where it had none: ready for exec. */
  readonly args: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  /** Between checks during the start period. */
  readonly startIntervalMs: number;
  readonly retries: number;
}

export interface LogChoice {
  /** `none`: output goes to whoever is attached and is kept nowhere. Absent: json-file. */
  readonly driver?: 'json-file' | 'none';
  /** Bytes of one file. */
  readonly maxSize: number;
  /** Files, the current one included. */
  readonly maxFiles: number;
}

/** What the writable layer lies on. */
export interface ContainerImage {
  /** Digest of the image's config. */
  readonly id: string;
  /** As it was asked for. */
  readonly name: string;
  /** The committed snapshot of its layers; absent for an image without layers. */
  readonly snapshot?: SnapshotName;
}

/** What does not change from start to start. */
export type StoredInput = Pick<
  ContainerInput,
  'args' | 'env' | 'cwd' | 'user' | 'home' | 'hostname' | 'terminal' | 'extraHosts'
>;

export interface ContainerConfig {
  readonly version: 1;
  readonly id: ContainerID;
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  readonly image: ContainerImage;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** As it was asked for; `input.user` has the numbers. */
  readonly user: string;
  /** `open`: stays open when a client goes; `once`: closed with the first client's input. */
  readonly stdin: 'closed' | 'open' | 'once';
  readonly labels: Readonly<Record<string, string>>;
  /** Words for runtimes and whoever inspects it (--annotation); absent: none. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly restart: RestartPolicy;
  /** Removed when it has ended (--rm). */
  readonly autoRemove: boolean;
  readonly init: boolean;
  readonly stopSignal: Signal;
  /** Between the stop signal and SIGKILL; -1: for ever. */
  readonly stopTimeoutS: number;
  readonly healthCheck?: HealthCheck;
  readonly log: LogChoice;
  readonly detachKeys?: string;
  /** Names of volumes that came into being with it and go with `rm -v` and `--rm`. */
  readonly anonymousVolumes: readonly string[];
  /**
   * Of `run`: the process that creates and starts it (as in owner.ts). Without it and never started, it is what
   * a killed `run` left.
   */
  readonly creator?: string;
  readonly input: StoredInput;
  /** Volumes named, other containers as ids. */
  readonly isolation: IsolationOptions;
  readonly network: NetworkChoice;
  readonly ports: readonly PortRequest[];
  /** EXPOSE and --expose, `80/tcp`. */
  readonly exposedPorts: readonly string[];
  readonly dns: DnsOptions;
}

/** What is allocated for a container that runs: ROOT/containers/<id>/held.json. */
export interface HeldResources {
  /** Who started it, as in owner.ts: while that process lives, a container without a monitor may be starting. */
  readonly starter: string;
  readonly cgroup?: CgroupPlace;
  /** Attached to networks, under the container's id. */
  readonly networks: boolean;
}

export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

/** A process that is told from a later one with the same pid by its start time (owner.ts). */
export interface ProcessIdentity {
  readonly pid: number;
  readonly start: string;
}

export interface HealthProbe {
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  readonly exitCode: number;
  /** At most 4096 bytes. */
  readonly output: string;
}

export interface HealthState {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  readonly failingStreak: number;
  /** The latest ones, oldest first, at most five. */
  readonly log: readonly HealthProbe[];
}

export interface ContainerState {
  readonly status: ContainerStatus;
  /** The container's first process, in the host's pid namespace; absent unless running or paused. */
  readonly process?: ProcessIdentity;
  /** Who holds it, or cleans up after it; may be gone by now (`isHeld`). */
  readonly monitor?: ProcessIdentity;
  /** RFC 3339 with nanoseconds; absent: never. */
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** As docker's: 128 + signal where a signal ended it, 127 or 126 where it could not start. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Why it could not start, or what a crash left; '' where all is well. */
  readonly error: string;
  readonly restartCount: number;
  readonly health?: HealthState;
}

export interface StoredContainer {
  readonly id: ContainerID;
  readonly config: ContainerConfig;
  readonly state: ContainerState;
  /** Of all its files. */
  readonly directory: string;
}

/** Whether somebody runs it or cleans up after it. */
export function isHeld({ monitor }: ContainerState): boolean {
  return monitor !== undefined && startTimeOf(monitor.pid) === monitor.start;
}

export function isActive({ status }: ContainerState): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting';
}

/** `aaaabbbbcccc`: as people see ids. */
export function shortID(id: ContainerID): string {
  return id.slice(0, 12);
}

/** What the OCI runtime remembers of a container. */
import type { CgroupPlace } from '../cgroups/cgroup.ts';

export interface ContainerRecord {
  readonly id: string;
  readonly ociVersion: string;
  readonly bundle: string;
  readonly rootfs: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly created: string;
  readonly owner: string;
  /** 0 while it is being made. */
  readonly pid: number;
  /** Clock ticks after boot, as text. */
  readonly pidStart: string;
  readonly cgroup?: CgroupPlace;
  readonly systemdCgroup: boolean;
  /** Of one that waits for its start: which operation of its plan waits, and whether descriptors are handed on after it. */
  readonly waiting?: { readonly at: number; readonly preserves: boolean };
  /** It has no pid namespace of its own that would end with its first process. */
  readonly sharesPids?: boolean;
  /** Its root is mounted in the runtime's own mount namespace, where deleting unmounts it. */
  readonly sharesMounts?: boolean;
  /** JSON of what the standard streams are (paths below /proc/PID/fd), as who looks into a runtime's state expects it. */
  readonly external_descriptors: string;
  /** Hooks that run after the program's start (`poststart`) or end (`poststop`). */
  readonly later: readonly string[];
}

export type Status = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

/**
 * What a container may use, in the shape of the OCI config's `linux.resources`.
 *
 * Sizes are bytes, times microseconds; -1 is unlimited. Spec: OCI runtime-spec v1.2, config-linux.md, "Control groups".
 */

export interface MemoryResources {
  readonly limit?: number;
  /** Memory and swap together. */
  readonly swap?: number;
  readonly reservation?: number;
  readonly kernel?: number;
  readonly kernelTCP?: number;
  readonly swappiness?: number;
  readonly disableOOMKiller?: boolean;
  readonly checkBeforeUpdate?: boolean;
}

export interface CpuResources {
  /** Relative weight, 2 to 262144. */
  readonly shares?: number;
  readonly quota?: number;
  readonly burst?: number;
  readonly period?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  /** `0-3,7`. */
  readonly cpus?: string;
  readonly mems?: string;
  readonly idle?: number;
}

export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

export interface BlockIOResources {
  /** 10 to 1000. */
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly (DeviceNumber & {
    readonly weight?: number;
    readonly leafWeight?: number;
  })[];
  readonly throttleReadBpsDevice?: readonly DeviceRate[];
  readonly throttleWriteBpsDevice?: readonly DeviceRate[];
  readonly throttleReadIOPSDevice?: readonly DeviceRate[];
  readonly throttleWriteIOPSDevice?: readonly DeviceRate[];
}

export interface DeviceRate extends DeviceNumber {
  readonly rate: number;
}

/** Absent type, major, minor: all of them. Later rules win. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: 'a' | 'b' | 'c' | 'u' | 'p';
  readonly major?: number;
  readonly minor?: number;
  /** Any of `r`, `w`, `m` (mknod); absent: all. */
  readonly access?: string;
}

export interface Resources {
  readonly devices?: readonly DeviceRule[];
  readonly memory?: MemoryResources;
  readonly cpu?: CpuResources;
  readonly pids?: { readonly limit?: number };
  readonly blockIO?: BlockIOResources;
  /** `pageSize` as in file names: `2MB`. */
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly network?: {
    readonly classID?: number;
    readonly priorities?: readonly { readonly name: string; readonly priority: number }[];
  };
  readonly rdma?: Readonly<Record<string, { readonly hcaHandles?: number; readonly hcaObjects?: number }>>;
  /** Files of cgroup v2, written as they are. */
  readonly unified?: Readonly<Record<string, string>>;
}

/** What a layout has to know of the machine that it is for. */
export interface Machine {
  /** `amd64`, `arm64`. */
  readonly arch: string;
  /** Whether /sys/fs/cgroup is a single cgroup v2 hierarchy. */
  readonly cgroup2: boolean;
  /** Capabilities that this process can give away, as bits. */
  readonly bounding: bigint;
  /** An empty directory where roots are attached while they are built. */
  readonly mountPoint: string;
}

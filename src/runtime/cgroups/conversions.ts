/** Values of cgroup v1, which docker and OCI speak, as cgroup v2 takes them. Pure. */

/**
 * cpu.shares (2 to 262144, 1024 by default) as cpu.weight (1 to 10000, 100 by default), so that ends and default
 * fall together: a parabola through the three points in logarithms, as runc and crun have it. 0: not set.
 */
export function weightOfShares(shares: number): number {
  if (shares === 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const l = Math.log2(shares);
  const exponent = (l * l + 125 * l) / 612 - 7 / 34;
  // why: rounded first, since 10 to the power of 2 may come out a hair above 100.
  return Math.ceil(Number((10 ** exponent).toFixed(9)));
}

/** blkio.weight (10 to 1000) as io.weight (1 to 10000). */
export function ioWeightOfBlkio(weight: number): number {
  return Math.floor(1 + ((weight - 10) * 9999) / 990);
}

/** A limit as a v2 file takes it. */
export function maxOf(limit: number): string {
  return limit < 0 ? 'max' : `${limit}`;
}

/** memory.swap.max of a limit for memory and swap together; undefined: nothing to be set. */
export function swapOnly(limit: number | undefined, swap: number): number | undefined {
  if (swap < 0) return -1;
  if (limit === undefined) return undefined;
  return limit < 0 ? undefined : swap - limit;
}

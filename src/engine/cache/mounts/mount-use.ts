/** What is known of a cache mount that a step uses. */
import type { CacheMountUse } from '../../../solver/exec/cache-mounts.ts';

export type MountUse = CacheMountUse;

/** The clock of inode times ticks at least so often, in milliseconds. */
export const TICK_MS = 20;

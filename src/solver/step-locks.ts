/** One execution of a step at a time, over all builds of a state root. */
import type { CacheKey } from '../base/digest.ts';

export interface StepLocks {
  /**
   * Waits while another build holds the key; the lock is given up by disposing of it, or with the end of the process.
   * `onWait` is called once, where there is something to wait for. Throws AbortError, DISK_FULL or IO_FAILED.
   */
  acquire(
    key: CacheKey,
    options: { readonly signal: AbortSignal; readonly onWait: () => void },
  ): Promise<Disposable>;
}

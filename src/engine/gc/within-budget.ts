/** Work that may not pass `storage.max` while it writes. */
import type { TsbuildError } from '../../base/errors.ts';
import type { Budget } from './budget.ts';

/** `work` with a signal that fires where making room is not enough; that is STORAGE_FULL then. */
export async function withinBudget<T>(
  budget: Budget,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const failing = new AbortController();
  let exceeded: TsbuildError | undefined;
  using _watch = budget.watch((error) => {
    exceeded ??= error;
    failing.abort();
  });
  try {
    return await work(AbortSignal.any([signal, failing.signal]));
  } catch (error) {
    throw exceeded ?? error;
  }
}

/** How long a build waits for its caches: never so long that it would have been done without them. */
import { TsbuildError } from '../../base/errors.ts';

/** Look-ups: a plan with what it takes to connect, and a step. */
export const PLAN_MS = 10_000;
export const STEP_MS = 5_000;
/** A transfer in which nothing moves. */
export const STALL_MS = 30_000;

/** `work` with a signal that fires after `ms`; that is REGISTRY_UNREACHABLE then. */
export async function within<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(ms);
  try {
    return await work(AbortSignal.any([signal, late]));
  } catch (error) {
    if (!late.aborted || signal.aborted) throw error;
    throw new TsbuildError('REGISTRY_UNREACHABLE', `no answer within ${ms / 1000} s`, { cause: error });
  }
}

/** As `within`; the time begins anew with every call of `moved`. */
export async function whileMoving<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal, moved: () => void) => Promise<T>,
): Promise<T> {
  const stalled = new AbortController();
  let timer = setTimeout(() => stalled.abort(), ms);
  const moved = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(), ms);
  };
  try {
    return await work(AbortSignal.any([signal, stalled.signal]), moved);
  } catch (error) {
    if (!stalled.signal.aborted || signal.aborted) throw error;
    throw new TsbuildError('REGISTRY_UNREACHABLE', `nothing moved for ${ms / 1000} s`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

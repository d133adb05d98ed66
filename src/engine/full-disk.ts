/** A full disk by the place that it is full at: what failed knows a file's descriptor and no more. */
import { isTsbuildError, TsbuildError } from '../base/errors.ts';

/** Does the work; a DISK_FULL of it names the state root. */
export async function namingFullDisk<T>(root: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isTsbuildError(error, 'DISK_FULL') || error.message.includes(root)) throw error;
    const { hint, source } = error;
    throw new TsbuildError('DISK_FULL', `${error.message} below ${JSON.stringify(root)}`, {
      cause: error.cause ?? error,
      ...(hint === undefined ? {} : { hint }),
      ...(source === undefined ? {} : { source }),
    });
  }
}

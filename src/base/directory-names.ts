/** Listing a directory that may not be there yet. */
import { readdirSync } from 'node:fs';
import { errnoOf, ioError } from './errors.ts';

/** Names in a directory; none where there is no directory. Throws IO_FAILED. */
export function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw ioError(`list ${JSON.stringify(directory)}`, error);
  }
}

/** Opening the file of a layer. */
import { openSync } from 'node:fs';
import { ioError } from '../base/errors.ts';

/** A layer's tar for reading; the caller closes it. Throws IO_FAILED. */
export function openTar(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw ioError('read a layer', error);
  }
}

/** Destinations appear when they are complete: a sibling with a temporary name, renamed at the end. */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { makeDirectories } from '../base/make-directories.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { removeTree } from '../base/remove-tree.ts';

export interface Staged extends Disposable {
  readonly path: string;
  /** Makes it visible under its own name. */
  commit(): void;
}

/** A new file or directory beside `destination`. Disposing without commit removes it. */
export function stage(destination: string, host: Host): Staged {
  const path = join(dirname(destination), `.${basename(destination)}.${host.unique()}`);
  let done = false;
  return {
    path,
    commit() {
      try {
        renameSync(path, destination);
        done = true;
      } catch (error) {
        throw ioError(`write ${JSON.stringify(destination)}`, error);
      }
    },
    [Symbol.dispose]() {
      if (!done) removeTree(path);
    },
  };
}

/** Throws where a directory cannot be written to: it exists and is no empty directory. */
export function checkEmptyDirectory(
  destination: string,
  allowed: (names: readonly string[]) => boolean,
): void {
  if (!existsSync(destination)) return;
  let names: readonly string[];
  try {
    names = readdirSync(destination);
  } catch (error) {
    throw ioError(`write to ${JSON.stringify(destination)}`, error);
  }
  if (names.length > 0 && !allowed(names))
    throw new TsbuildError('USAGE', `the destination ${JSON.stringify(destination)} is not empty`, {
      hint: 'name another one, or empty it',
    });
}

export function makeParent(path: string): void {
  try {
    makeDirectories(dirname(path));
  } catch (error) {
    throw ioError(`create ${JSON.stringify(dirname(path))}`, error);
  }
}

/** Where the native parts of this package lie, whatever form (source tree, compiled, bundled) the caller has. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TsbuildError } from '../src/base/errors.ts';

export type NativePart = 'tsbuild-launch' | 'tsbuild-runtime' | 'tsbuild-tree' | 'libtsbsys.so';

/** Absolute path of a native part. Throws NATIVE_MISSING where it was not built. */
export function locateNative(part: NativePart): string {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    const path = join(directory, 'native', 'build', part);
    if (existsSync(path)) return path;
    if (dirname(directory) === directory) break;
  }
  throw new TsbuildError('NATIVE_MISSING', `cannot find the native program ${part}`, {
    hint: 'run "npm run build" in the tsbuild package; it needs make and a C compiler',
  });
}

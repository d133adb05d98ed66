/** Where builds note what they found unchanged (src/cli/unchanged-build.ts). Gone with the first result that is removed. */
import { join } from 'node:path';

export function unchangedDirectory(root: string): string {
  return join(root, 'unchanged');
}

/** What is said of something that was killed for want of memory. */
import { formatBytes } from './format-bytes.ts';

/** `out of memory (limit 64 MiB, peak 64 MiB)`; in bytes, undefined where there is none or nobody knows. */
export function describeMemory({
  limit,
  peak,
}: {
  readonly limit: number | undefined;
  readonly peak: number | undefined;
}): string {
  const parts = [
    limit === undefined ? 'no limit of its own' : `limit ${formatBytes(limit)}`,
    ...(peak === undefined ? [] : [`peak ${formatBytes(peak)}`]),
  ];
  return `out of memory (${parts.join(', ')})`;
}

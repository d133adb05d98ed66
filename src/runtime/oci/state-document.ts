/** The state of a container as JSON: for hooks, listeners and `state`. Spec: OCI runtime-spec v1.2, runtime.md "State". */
import type { Fields } from './fields.ts';

export const OCI_VERSION = '1.2.0';

/** Of the document that a filter's listener gets, as crun numbers it. */
export const PROCESS_STATE_VERSION = '0.2.0';

/** The document around the status and the pid, which are known later: `a STATUS b PID c`. */
export function stateParts(
  config: Fields,
  { id, bundle }: { readonly id: string; readonly bundle: string },
): readonly [string, string, string] {
  const head = JSON.stringify({ ociVersion: config.text('ociVersion') ?? OCI_VERSION, id });
  const tail = JSON.stringify({ bundle, annotations: config.record('annotations') });
  return [`${head.slice(0, -1)},"status":"`, `","pid":`, `,${tail.slice(1)}`];
}

export function stateText(parts: readonly [string, string, string], status: string, pid: number): string {
  return `${parts[0]}${status}${parts[1]}${pid}${parts[2]}`;
}

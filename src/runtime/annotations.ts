/** Annotations that have an effect here. */

/** podman's `--group-add keep-groups`, as crun understands it: the starter's supplementary groups stay. */
const KEEP_GROUPS = 'run.oci.keep_original_groups';

export function keepsGroups(annotations: Readonly<Record<string, unknown>>): boolean {
  return annotations[KEEP_GROUPS] === '1';
}

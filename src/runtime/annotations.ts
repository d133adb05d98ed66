/** Annotations that have an effect here. */
import type { HookStreams } from './runtime.ts';

/** Prefixes of those that name places of the host, or take rights: nobody who is not trusted may set them. */
export const UNSAFE_ANNOTATIONS = ['run.oci.'];

/** podman's `--group-add keep-groups`, as crun understands it: the starter's supplementary groups stay. */
const KEEP_GROUPS = 'run.oci.keep_original_groups';

/** Where hooks write to, instead of the runtime's own streams; crun's annotations. */
const HOOK_STREAMS = { stdout: 'run.oci.hooks.stdout', stderr: 'run.oci.hooks.stderr' } as const;

export function hookStreamsOf(annotations: Readonly<Record<string, string>>): HookStreams {
  const { [HOOK_STREAMS.stdout]: stdout = '', [HOOK_STREAMS.stderr]: stderr = '' } = annotations;
  return { ...(stdout === '' ? {} : { stdout }), ...(stderr === '' ? {} : { stderr }) };
}

/** A unix socket that gets a pidfd of the process, as `--pidfd-socket` names one; crun's annotation. */
const PIDFD_RECEIVER = 'run.oci.pidfd_receiver';

export function pidfdReceiverOf(annotations: Readonly<Record<string, string>>): string | undefined {
  const path = annotations[PIDFD_RECEIVER] ?? '';
  return path === '' ? undefined : path;
}

export function keepsGroups(annotations: Readonly<Record<string, unknown>>): boolean {
  return annotations[KEEP_GROUPS] === '1';
}

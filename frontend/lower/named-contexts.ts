/** Names given by --build-context: looked up as `name::platform`, then `name`, in the form people write. */
import type { Platform } from '../../src/oci/documents.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { familiarName, parseReference } from '../../src/oci/reference.ts';
import type { FrontendRequest, NamedContext } from '../request.ts';

const FIXED = new Set(['scratch', 'context']);

export function findContext(
  { namedContexts }: FrontendRequest,
  name: string,
  platform: Platform,
): { readonly name: string; readonly context: NamedContext } | undefined {
  if (FIXED.has(name.toLowerCase())) return undefined;
  const wanted = familiar(name);
  const forPlatform = `${wanted}::${formatPlatform(platform)}`;
  let found: { readonly name: string; readonly context: NamedContext } | undefined;
  for (const [key, context] of Object.entries(namedContexts)) {
    const [base = '', suffix] = key.split('::', 2);
    const shown = suffix === undefined ? familiar(base) : `${familiar(base)}::${suffix}`;
    if (shown === forPlatform) return { name: key, context };
    if (shown === wanted) found = { name: key, context };
  }
  return found;
}

/** `docker.io/library/alpine:latest` is `alpine`. */
function familiar(name: string): string {
  try {
    return familiarName(parseReference(name)).replace(/:latest$/, '');
  } catch {
    return name;
  }
}

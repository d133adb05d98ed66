/** `Link: <…>; rel="next"`: where a list goes on. Source: RFC 8288; OCI distribution-spec v1.1.1. */
import type { Response } from './answer.ts';
import { resolveLocation } from './location.ts';
import type { Asked } from './registry-error.ts';

/** The address of the next page; undefined on the last. */
export function nextPage(response: Response, asked: Asked): string | undefined {
  const header = response.header('link') ?? '';
  for (const [, target = '', parameters = ''] of header.matchAll(/<([^>]*)>((?:\s*;[^,]*)?)/g))
    if (/;\s*rel\s*=\s*"?next"?\s*(?:;|$)/i.test(parameters))
      return resolveLocation(target, response.url, asked);
  return undefined;
}

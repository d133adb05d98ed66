/** Tags of a repository, page by page. Spec: OCI distribution-spec v1.1.1, "Listing Tags". */
import { isJsonObject } from '../base/json.ts';
import type { IoOptions } from '../content/roles.ts';
import { readText, type Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { withNamespace } from './manifests.ts';
import { nextPage } from './paging.ts';
import { protocolError, type Asked } from './registry-error.ts';
import type { Transport } from './transport.ts';

/** ECR allows no more. */
const PAGE = 1000;
const MAX_PAGES = 1000;
const MAX_BODY = 8 << 20;

export async function* listTags(
  transport: Transport,
  endpoint: Endpoint,
  asked: Asked,
  { signal, onNotice }: IoOptions,
): AsyncGenerator<string> {
  const first = withNamespace(endpoint, `/${endpoint.repository}/tags/list?n=${PAGE}`);
  let url: string | undefined = first;
  for (let page = 0; url !== undefined; page += 1) {
    if (page >= MAX_PAGES) throw protocolError(asked, `there are more than ${MAX_PAGES} pages`);
    const response: Response = await transport.request(endpoint, {
      method: 'GET',
      url,
      asked,
      scopes: [`repository:${endpoint.repository}:pull`],
      headers: { accept: 'application/json' },
      accept: [200],
      signal,
      onNotice,
    });
    const text = await readText(response, MAX_BODY);
    yield* parseTags(text, asked);
    url = nextPage(response, asked);
  }
}

function parseTags(text: string, asked: Asked): readonly string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const tags = isJsonObject(value) ? (value['tags'] ?? []) : undefined;
  if (!Array.isArray(tags)) throw protocolError(asked, 'the list of tags is not as it should be');
  return (tags as readonly unknown[]).filter((tag) => typeof tag === 'string');
}

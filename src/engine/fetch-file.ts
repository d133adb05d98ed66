/** ADD of a URL: the body becomes a blob; redirects are followed, anything but success is an error that says so. */
import { request } from '../registry/http-client.ts';
import { TsbuildError } from '../base/errors.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { VertexProgress } from '../solver/handler.ts';
import type { FetchedFile } from '../solver/exec/http.ts';

const MAX_REDIRECTS = 10;

export async function fetchFile(
  url: string,
  content: ContentStore,
  options: { readonly signal: AbortSignal; readonly progress: VertexProgress },
): Promise<FetchedFile> {
  const shown = JSON.stringify(withoutSecrets(url));
  let at = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const response = await get(at, shown, options.signal);
    const location = response.headers['location'];
    if (response.statusCode >= 300 && response.statusCode < 400 && typeof location === 'string') {
      await response.body.dump();
      at = new URL(location, at).href;
      if (!/^https?:/.test(at))
        throw new TsbuildError(
          'IO_FAILED',
          `cannot fetch ${shown}: it redirects to something that is not http`,
        );
      continue;
    }
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new TsbuildError(
        'IO_FAILED',
        `cannot fetch ${shown}: the server answered ${response.statusCode}`,
      );
    }
    const total = Number(response.headers['content-length']);
    const made = await content.ingest(
      counted(
        response.body,
        withoutSecrets(url),
        Number.isSafeInteger(total) ? total : undefined,
        options.progress,
      ),
      {
        ...(Number.isSafeInteger(total) && response.headers['content-encoding'] === undefined
          ? { size: total }
          : {}),
      },
    );
    const modified = Date.parse(String(response.headers['last-modified'] ?? ''));
    return {
      blob: made.digest,
      size: made.size,
      mtime: Number.isNaN(modified) ? 0 : Math.floor(modified / 1000),
    };
  }
  throw new TsbuildError('IO_FAILED', `cannot fetch ${shown}: more than ${MAX_REDIRECTS} redirects`);
}

async function get(url: string, shown: string, signal: AbortSignal): ReturnType<typeof request> {
  try {
    return await request(url, { method: 'GET', signal, headersTimeout: 60_000, bodyTimeout: 60_000 });
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new TsbuildError('IO_FAILED', `cannot fetch ${shown}: ${reason}`, { cause: error });
  }
}

async function* counted(
  body: AsyncIterable<Uint8Array>,
  item: string,
  total: number | undefined,
  progress: VertexProgress,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  const report = (done: boolean): void =>
    progress.transfer({
      item,
      action: 'fetching',
      current,
      unit: 'bytes',
      done,
      ...(total === undefined ? {} : { total }),
    });
  for await (const chunk of body) {
    current += chunk.byteLength;
    report(false);
    yield chunk;
  }
  report(true);
}

function withoutSecrets(url: string): string {
  const parsed = new URL(url);
  if (parsed.password !== '') parsed.password = '***';
  return parsed.search === '' ? parsed.href : `${parsed.origin}${parsed.pathname}?…`;
}

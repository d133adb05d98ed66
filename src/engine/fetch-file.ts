/**
 * A file by http(s), with the proxies and the authorities that registries have: the body becomes a blob; redirects are
 * followed, anything but success is an error that says so.
 *
 * What came before is asked for with If-None-Match or If-Modified-Since; it travels again only if it has changed.
 */
import { join } from 'node:path';
import type { Dispatcher } from 'undici';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { digestOf, hexOf, isDigest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { isJsonObject } from '../base/json.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { Engine } from './engine.ts';
import type { VertexProgress } from '../solver/handler.ts';
import type { FetchedFile } from '../solver/exec/http.ts';

const MAX_REDIRECTS = 10;

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly progress: VertexProgress;
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
}

/** What is known of a URL from the last time: enough to ask whether it has changed. */
interface Remembered extends FetchedFile {
  readonly etag?: string;
  readonly lastModified?: string;
}

export async function fetchFile(url: string, engine: Engine, options: FetchOptions): Promise<FetchedFile> {
  const { content } = engine;
  const shown = JSON.stringify(withoutSecrets(url));
  const memory = join(engine.options.root, 'http', `${hexOf(digestOf(url))}.json`);
  const before = recall(memory, content);
  const headers = await headersFor(url, before, options);
  let at = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    // Credentials are for the host that was asked, not for where it sends us.
    const own = new URL(at).host === new URL(url).host ? headers : withoutCredentials(headers);
    const response = await get(engine, { at, shown, headers: own, signal: options.signal });
    const { statusCode } = response;
    const location = response.headers['location'];
    if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') {
      await response.body.dump();
      at = new URL(location, at).href;
      if (!/^https?:/.test(at))
        throw new TsbuildError(
          'IO_FAILED',
          `cannot fetch ${shown}: it redirects to something that is not http`,
        );
      continue;
    }
    if (statusCode === 304 && before !== undefined) {
      await response.body.dump();
      return { blob: before.blob, size: before.size, mtime: before.mtime };
    }
    if (statusCode !== 200) {
      await response.body.dump();
      throw new TsbuildError('IO_FAILED', `cannot fetch ${shown}: the server answered ${statusCode}`, {
        word: url,
        ...(statusCode === 401 || statusCode === 403
          ? { hint: `give a token with --secret id=HTTP_AUTH_TOKEN_${new URL(url).hostname},env=NAME` }
          : statusCode === 404 || statusCode === 410
            ? { hint: 'check the address' }
            : {}),
      });
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
    const { etag, 'last-modified': lastModified } = response.headers;
    const modified = Date.parse(String(lastModified ?? ''));
    const file: FetchedFile = {
      blob: made.digest,
      size: made.size,
      mtime: Number.isNaN(modified) ? 0 : Math.floor(modified / 1000),
    };
    const remembered: Remembered = {
      ...file,
      ...(typeof etag === 'string' ? { etag } : {}),
      ...(typeof lastModified === 'string' ? { lastModified } : {}),
    };
    writeFileAtomic(engine.host, memory, JSON.stringify(remembered));
    return file;
  }
  throw new TsbuildError('IO_FAILED', `cannot fetch ${shown}: more than ${MAX_REDIRECTS} redirects`);
}

function recall(path: string, content: ContentStore): Remembered | undefined {
  const value = readJsonIfExists(path);
  if (!isJsonObject(value)) return undefined;
  const { blob, size, mtime, etag, lastModified } = value;
  if (typeof blob !== 'string' || !isDigest(blob) || content.size(blob) !== size) return undefined;
  return {
    blob,
    size: Number(size),
    mtime: Number(mtime),
    ...(typeof etag === 'string' ? { etag } : {}),
    ...(typeof lastModified === 'string' ? { lastModified } : {}),
  };
}

async function headersFor(
  url: string,
  before: Remembered | undefined,
  { secret }: FetchOptions,
): Promise<Record<string, string>> {
  const { hostname, username, password } = new URL(url);
  const read = async (id: string): Promise<string | undefined> => {
    const value = await secret(`${id}_${hostname}`);
    return value === undefined ? undefined : Buffer.from(value).toString('utf8').trim();
  };
  const token = await read('HTTP_AUTH_TOKEN');
  const basic =
    username === '' && password === ''
      ? undefined
      : `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`;
  const authorization = token === undefined ? ((await read('HTTP_AUTH_HEADER')) ?? basic) : `Bearer ${token}`;
  return {
    'user-agent': 'tsbuild',
    ...(authorization === undefined ? {} : { authorization }),
    ...(before?.etag === undefined ? {} : { 'if-none-match': before.etag }),
    ...(before?.etag === undefined && before?.lastModified !== undefined
      ? { 'if-modified-since': before.lastModified }
      : {}),
  };
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
}

interface Asked {
  readonly at: string;
  /** As it was written, without its secrets. */
  readonly shown: string;
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
}

async function get(engine: Engine, { at, shown, headers, signal }: Asked): Promise<Dispatcher.ResponseData> {
  const registry = await engine.registry();
  try {
    return await registry.fetch(withoutUser(at), headers, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof TsbuildError) throw error;
    const isUntrusted = /self-signed certificate|unable to (get|verify)/.test(reason);
    throw new TsbuildError('IO_FAILED', `cannot fetch ${shown}: ${reason}`, {
      cause: error,
      word: at,
      ...(isUntrusted
        ? { hint: 'let SSL_CERT_FILE or NODE_EXTRA_CA_CERTS name the certificate of its authority' }
        : {}),
    });
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

/** undici takes no credentials in an address; they travel as a header. */
function withoutUser(url: string): string {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}

function withoutSecrets(url: string): string {
  const parsed = new URL(url);
  if (parsed.password !== '') parsed.password = '***';
  return parsed.search === '' ? parsed.href : `${parsed.origin}${parsed.pathname}?…`;
}

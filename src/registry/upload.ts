/**
 * Uploading one blob: a mount where the registry has it elsewhere; else POST for a session and PUT with everything;
 * pieces by PATCH where the whole is refused (413), cut again and again, or configuration says so.
 *
 * After a fault the blob is looked for first: the answer may have been lost, not the upload. The unit of a retry is
 * the blob, or a piece of it; its bytes can be read again from the beginning.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pushing blobs".
 */
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { withParameter } from './location.ts';
import { beginning } from './registry-error.ts';
import { backoff, sleep } from './retry.ts';
import { putChunks } from './upload-chunks.ts';
import {
  attempt,
  beginSession,
  common,
  giveUp,
  scopesOf,
  sessionOf,
  type Outcome,
  type Session,
  type Upload,
} from './upload-session.ts';

/** Cuts of the whole before it goes in pieces. */
const MAX_CUTS = 2;
const DAMAGE_TRIES = 2;
const FIRST_CHUNK = 8 << 20;

export async function uploadBlob(upload: Upload): Promise<void> {
  const { blob, endpoint, settings, options } = upload;
  const configured = endpoint.chunkSize;
  let inPieces = configured !== undefined && blob.size > configured;
  const pieces = { size: configured ?? FIRST_CHUNK };
  let session = await mount(upload);
  if (session === 'mounted') return;
  let [cuts, failures, damages] = [0, 0, 0];
  for (;;) {
    session ??= await beginSession(upload);
    const current: Session = session;
    let outcome: Outcome;
    try {
      outcome = inPieces ? await putChunks(upload, current, pieces) : await putWhole(upload, current);
    } catch (error) {
      await giveUp(upload, current);
      throw error;
    }
    session = undefined;
    if (outcome.kind === 'done') return;
    if (outcome.kind === 'too-large') {
      if (inPieces) {
        await giveUp(upload, current);
        throw outcome.error;
      }
      inPieces = true;
      continue;
    }
    failures += 1;
    if (outcome.isLost) upload.onSessionLost();
    if (isDamage(outcome.error)) damages += 1;
    if (await isThere(upload)) return;
    if (failures >= settings.retry.tries || damages >= DAMAGE_TRIES) {
      await giveUp(upload, current);
      throw outcome.error;
    }
    cuts += outcome.isCut ? 1 : 0;
    inPieces ||= cuts >= MAX_CUTS && blob.size > pieces.size;
    const waitMs = outcome.waitMs ?? backoff(settings.retry, failures, settings.random);
    const reason = outcome.isCut ? 'an upload was cut' : outcome.error.message;
    options.onNotice?.({ kind: 'retry', host: endpoint.authority, reason, waitMs });
    await sleep(waitMs, options.signal);
  }
}

function isDamage(error: TsbuildError): boolean {
  return error.code === 'DIGEST_MISMATCH';
}

/** Another repository's blob, by reference. Never a reason to fail. */
async function mount(upload: Upload): Promise<Session | 'mounted' | undefined> {
  const { transport, endpoint, blob, options } = upload;
  for (const from of upload.mountFrom) {
    const query = `mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(from)}`;
    try {
      const response = await transport.request(endpoint, {
        ...common(upload, `mounting ${blob.digest}`),
        method: 'POST',
        url: `/${endpoint.repository}/blobs/uploads/?${query}`,
        scopes: [...scopesOf(endpoint), `repository:${from}:pull`],
        headers: { 'content-length': '0' },
        accept: [201, 202],
        tries: 1,
      });
      await response.discard();
      if (response.status === 201) return 'mounted';
      // The registry did not mount, and began an upload instead.
      return sessionOf(response, upload);
    } catch (error) {
      if (options.signal.aborted || isTsbuildError(error, 'ABORTED')) throw error;
    }
  }
  return undefined;
}

async function isThere(upload: Upload): Promise<boolean> {
  const { transport, endpoint, blob } = upload;
  const response = await transport.request(endpoint, {
    ...common(upload, `looking for ${blob.digest}`),
    method: 'HEAD',
    url: `/${endpoint.repository}/blobs/${blob.digest}`,
    accept: [200, 404, 405],
  });
  await response.discard();
  return response.status === 200;
}

async function putWhole(upload: Upload, session: Session): Promise<Outcome> {
  const { blob, open } = upload;
  return attempt(upload, {
    ...common(upload, `uploading blob ${blob.digest}`),
    method: 'PUT',
    url: withParameter(session.location, 'digest', blob.digest),
    headers: { 'content-type': 'application/octet-stream', 'content-length': `${blob.size}` },
    ...(blob.size === 0 ? {} : { body: () => counted(open(), upload) }),
    isLarge: blob.size > FIRST_CHUNK,
  });
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  { options, blob, asked }: Upload,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  for await (const chunk of source) {
    current += chunk.byteLength;
    options.onProgress?.(current);
    yield chunk;
  }
  if (current !== blob.size)
    throw new TsbuildError(
      'SIZE_MISMATCH',
      `${beginning(asked(`uploading blob ${blob.digest}`))} failed: it has ${current} bytes, not ${blob.size}`,
    );
}

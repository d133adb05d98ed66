/**
 * An upload in pieces: PATCH after PATCH, the last piece inside the PUT. Each answer's Location leads to the next.
 *
 * What the registry says of its progress is taken with care: some say nothing, some always the same, some count each
 * piece by itself. Believed is what lies inside the piece that was sent; the digest decides in the end.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pushing a blob in chunks".
 */
import type { Response } from './answer.ts';
import { createChunkReader } from './chunk-reader.ts';
import { withParameter } from './location.ts';
import {
  ANSWERS,
  attempt,
  common,
  cutOf,
  locationOf,
  outcomeOf,
  type Outcome,
  type Session,
  type Upload,
} from './upload-session.ts';

/** Proxies with the usual limit of 1 MiB let this through. */
const SMALLEST = 512 << 10;

/** `pieces.size` shrinks where pieces are refused as too large; a later attempt goes on with what it became. */
export async function putChunks(
  upload: Upload,
  session: Session,
  pieces: { size: number },
): Promise<Outcome> {
  const { blob, options } = upload;
  const reader = createChunkReader(upload.open());
  let start = 0;
  let faults = 0;
  try {
    for (;;) {
      const chunk = await reader.take(Math.max(pieces.size, session.minimum));
      const isLast = start + chunk.byteLength >= blob.size;
      const step = isLast
        ? { outcome: await putLast(upload, session, chunk, start), response: undefined }
        : await patch(upload, session, chunk, start);
      if (step.response === undefined) {
        const { outcome } = step;
        if (outcome.kind === 'done') {
          options.onProgress?.(blob.size);
          return outcome;
        }
        if (outcome.kind === 'too-large') {
          if (chunk.byteLength <= Math.max(SMALLEST, session.minimum)) return outcome;
          pieces.size = Math.max(SMALLEST, chunk.byteLength >> 2);
          reader.giveBack(chunk);
          continue;
        }
        faults += 1;
        if (isLast || faults > upload.settings.retry.tries) return outcome;
        const received = await progressOf(upload, session);
        if (received === undefined || received < start || received > start + chunk.byteLength) return outcome;
        reader.giveBack(chunk.subarray(received - start));
        start = received;
        continue;
      }
      session.location = locationOf(step.response, upload.asked('uploading a piece'));
      const taken = takenOf(step.response, start, chunk.byteLength);
      if (taken === undefined) return await lost(upload, step.response);
      if (taken < chunk.byteLength) reader.giveBack(chunk.subarray(taken));
      start += taken;
      options.onProgress?.(start);
    }
  } finally {
    await reader.close();
  }
}

type Step =
  | { readonly outcome: Outcome; readonly response: undefined }
  | { readonly outcome: undefined; readonly response: Response };

async function patch(upload: Upload, session: Session, chunk: Uint8Array, start: number): Promise<Step> {
  const { transport, endpoint, blob } = upload;
  const request = common(upload, `uploading a piece of blob ${blob.digest}`);
  let response: Response;
  try {
    response = await transport.request(endpoint, {
      ...request,
      method: 'PATCH',
      url: session.location,
      headers: headersOf(chunk, start),
      body: () => chunk,
      accept: ANSWERS,
      tries: 1,
    });
  } catch (error) {
    return { outcome: cutOf(error), response: undefined };
  }
  if (response.status === 201) {
    // Some registries know that this was all of it.
    await response.discard();
    return { outcome: { kind: 'done' }, response: undefined };
  }
  if (response.status < 300) {
    await response.discard();
    return { outcome: undefined, response };
  }
  return { outcome: await outcomeOf(upload, request.asked, response), response: undefined };
}

function putLast(upload: Upload, session: Session, chunk: Uint8Array, start: number): Promise<Outcome> {
  const { blob } = upload;
  return attempt(upload, {
    ...common(upload, `finishing blob ${blob.digest}`),
    method: 'PUT',
    url: withParameter(session.location, 'digest', blob.digest),
    headers: headersOf(chunk, start),
    ...(chunk.byteLength === 0 ? {} : { body: () => chunk }),
  });
}

function headersOf(chunk: Uint8Array, start: number): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'content-length': `${chunk.byteLength}`,
    ...(chunk.byteLength === 0 ? {} : { 'content-range': `${start}-${start + chunk.byteLength - 1}` }),
  };
}

/** Bytes of the piece that were taken; undefined where the registry has more than we sent. */
function takenOf(response: Response, start: number, length: number): number | undefined {
  const end = endOf(response);
  // Missing, nonsense, or of another piece: our own count holds.
  if (end === undefined || end < start) return length;
  return end + 1 > start + length ? undefined : end + 1 - start;
}

function endOf(response: Response): number | undefined {
  const match = /^(?:bytes[= ])?0-(\d+)$/.exec(response.header('range')?.trim() ?? '');
  return match === null ? undefined : Number(match[1]);
}

/** How much a session has, after a fault; undefined where it is gone. */
async function progressOf(upload: Upload, session: Session): Promise<number | undefined> {
  const { transport, endpoint } = upload;
  try {
    const response = await transport.request(endpoint, {
      ...common(upload, 'asking how far an upload is'),
      method: 'GET',
      url: session.location,
      accept: [204, 202],
    });
    await response.discard();
    const end = endOf(response);
    if (end === undefined) return undefined;
    if (response.header('location') !== undefined)
      session.location = locationOf(response, upload.asked('asking how far an upload is'));
    // why: `0-0` is said of one byte and of none; nobody sends pieces of one byte.
    return end === 0 ? 0 : end + 1;
  } catch (error) {
    if (upload.options.signal.aborted) throw error;
    return undefined;
  }
}

function lost(upload: Upload, response: Response): Promise<Outcome> {
  return outcomeOf(upload, upload.asked('uploading a piece'), { ...response, status: 416 });
}

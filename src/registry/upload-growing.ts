/**
 * Uploading a blob that is still being made: one PATCH without a length, as docker sends all its layers, and a PUT
 * that names the blob once its digest is known. It is an attempt: whatever goes wrong, the blob is sent in the usual
 * way afterwards, when all of it is there (upload.ts).
 *
 * Spec: docker registry HTTP API V2, "Stream upload".
 */
import type { IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import { withParameter } from './location.ts';
import type { Endpoint } from './endpoints.ts';
import type { Asked } from './registry-error.ts';
import type { Request } from './request.ts';
import type { Transport } from './transport.ts';
import { beginSession, giveUp, locationOf, scopesOf, type Session } from './upload-session.ts';

export interface GrowingUpload {
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  readonly asked: (action: string) => Asked;
  /** The bytes from the beginning, as they come; any number of times. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly made: Promise<Descriptor>;
  /** Whether the registry had it all along. */
  readonly isThere: (blob: Descriptor) => Promise<boolean>;
  readonly options: IoOptions;
}

/**
 * Whether the registry has the blob now. Throws what `made` rejects with, nothing else; nothing is sent any more when
 * it returns.
 */
export async function uploadGrowing(upload: GrowingUpload): Promise<boolean> {
  const session = await beginSession(upload).catch(() => undefined);
  if (session === undefined) {
    await upload.made;
    return false;
  }
  const cancel = new AbortController();
  const sending = send(upload, session, AbortSignal.any([upload.options.signal, cancel.signal]));
  let isFinished = false;
  try {
    const blob = await upload.made;
    // Asked while the rest is on its way: what was compressed on another machine may be there, and its bytes are ours.
    const isThere = await Promise.race([sending.then(() => false), upload.isThere(blob).catch(() => false)]);
    if (isThere) return true;
    isFinished = (await sending) && (await finish(upload, session, blob));
    return isFinished;
  } finally {
    cancel.abort();
    await sending;
    if (!isFinished) await giveUp(upload, session);
  }
}

/** Whether all of it arrived, as far as the registry says. */
async function send(upload: GrowingUpload, session: Session, signal: AbortSignal): Promise<boolean> {
  const { transport, endpoint } = upload;
  const asked = upload.asked('uploading a layer while it is compressed');
  try {
    const response = await transport.request(endpoint, {
      ...shared(upload),
      asked,
      signal,
      method: 'PATCH',
      url: session.location,
      headers: { 'content-type': 'application/octet-stream' },
      body: () => counted(upload.open(signal), upload.options),
      accept: [202, 204],
      tries: 1,
      isLarge: true,
    });
    await response.discard();
    session.location = locationOf(response, asked);
    return true;
  } catch {
    return false;
  }
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  { onProgress }: IoOptions,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  for await (const chunk of source) {
    yield chunk;
    current += chunk.byteLength;
    onProgress?.(current);
  }
}

async function finish(upload: GrowingUpload, session: Session, { digest }: Descriptor): Promise<boolean> {
  try {
    const response = await upload.transport.request(upload.endpoint, {
      ...shared(upload),
      method: 'PUT',
      url: withParameter(session.location, 'digest', digest),
      headers: { 'content-length': '0' },
      accept: [201, 204],
      tries: 1,
    });
    await response.discard();
    return true;
  } catch {
    return false;
  }
}

function shared(upload: GrowingUpload): Pick<Request, 'asked' | 'scopes' | 'signal' | 'onNotice'> {
  const { signal, onNotice } = upload.options;
  const asked = upload.asked('finishing a layer');
  return { asked, scopes: scopesOf(upload.endpoint), signal, onNotice };
}

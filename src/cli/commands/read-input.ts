/** Standard input as bytes, up to a bound. */
import { TsbuildError } from '../../base/errors.ts';
import type { Session } from '../session.ts';

/** Throws USAGE for more than `maximum` bytes. */
export async function readInput(stdin: Session['stdin'], maximum: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > maximum) throw new TsbuildError('USAGE', `standard input has more than ${maximum} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What commands that move images have in common: their progress, and flags that several of them take. */
import { resolve } from 'node:path';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { Family } from '../../oci/convert.ts';
import type { Platform } from '../../oci/documents.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Renderer } from '../render/plain.ts';
import type { Session } from '../session.ts';

/** Shows progress while `work` goes on, and ends it whatever happens. */
export async function rendered<T>(
  flags: ParsedFlags,
  session: Session,
  work: (renderer: Renderer) => Promise<T>,
): Promise<T> {
  const renderer = createRenderer(flags, session);
  try {
    return await work(renderer);
  } finally {
    renderer.end();
  }
}

/** The platform that is meant, if one is. */
export function givenPlatform(flags: ParsedFlags, { env }: Session): Platform | undefined {
  const text = flags.text('platform') ?? env['DOCKER_DEFAULT_PLATFORM'];
  return text === undefined || text === '' ? undefined : parsePlatform(text);
}

export function platformOf(flags: ParsedFlags, session: Session): Platform {
  return givenPlatform(flags, session) ?? session.engine().options.platform;
}

/** `--format oci|docker`. */
export function formatOf(flags: ParsedFlags): Family | undefined {
  const text = flags.text('format');
  if (text === undefined || text === 'oci' || text === 'docker') return text;
  throw new TsbuildError('USAGE', `unknown format ${JSON.stringify(text)}`, { hint: 'use oci or docker' });
}

/** `--digest-file`: what was pushed, for the next step of a pipeline. */
export function writeDigest(flags: ParsedFlags, { host, cwd }: Session, digest: string): void {
  const file = flags.text('digest-file');
  if (file !== undefined) writeFileAtomic(host, resolve(cwd, file), digest);
}

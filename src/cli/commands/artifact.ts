/** `tsbuild artifact attach|ls`: what refers to an image. */
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { ioError, TsbuildError } from '../../base/errors.ts';
import { attachArtifact, listArtifacts, type ArtifactFile } from '../../engine/artifact.ts';
import { familiarName, parseReference, withDefaultTag, type Reference } from '../../oci/reference.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { rendered, writeDigest } from './transfer-flags.ts';

const referenceOf = (word: string): Reference => withDefaultTag(parseReference(word));

export async function runArtifactAttach(flags: ParsedFlags, session: Session): Promise<number> {
  const [word = '', ...files] = flags.words;
  const image = referenceOf(word);
  const artifactType = flags.text('artifact-type');
  if (artifactType === undefined || !/^[\w.+-]+\/[\w.+-]+$/.test(artifactType))
    throw new TsbuildError('USAGE', 'attach needs the type of what it attaches', {
      hint: 'write --artifact-type TYPE/SUBTYPE',
    });
  const annotations = Object.fromEntries(flags.list('annotation').map(pairOf));
  const digest = await rendered(flags, session, (sink) =>
    attachArtifact(
      session.engine(),
      image,
      {
        artifactType,
        files: files.map((file) => readFile(file, session)),
        ...(flags.has('annotation') ? { annotations } : {}),
      },
      { sink, signal: session.signal },
    ),
  );
  writeDigest(flags, session, digest);
  session.stdout.write(`${digest}\n`);
  return 0;
}

function pairOf(word: string): readonly [string, string] {
  const equals = word.indexOf('=');
  if (equals > 0) return [word.slice(0, equals), word.slice(equals + 1)];
  throw new TsbuildError('USAGE', `invalid --annotation ${JSON.stringify(word)}`, {
    hint: 'write NAME=VALUE',
  });
}

/** `FILE` or `FILE:TYPE/SUBTYPE`. */
function readFile(word: string, { cwd }: Session): ArtifactFile {
  const [, path = word, mediaType = 'application/octet-stream'] =
    /^(.+):([\w.+-]+\/[\w.+-]+)$/.exec(word) ?? [];
  try {
    return {
      mediaType,
      bytes: readFileSync(resolve(cwd, path)),
      annotations: { 'org.opencontainers.image.title': basename(path) },
    };
  } catch (error) {
    throw ioError(`read ${JSON.stringify(path)}`, error);
  }
}

export async function runArtifactLs(flags: ParsedFlags, session: Session): Promise<number> {
  const image = referenceOf(flags.words[0] ?? '');
  const found = await rendered(flags, session, (sink) =>
    listArtifacts(session.engine(), image, flags.text('artifact-type'), { sink, signal: session.signal }),
  );
  const { stdout } = session;
  if (flags.text('format') === 'json') stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else
    for (const { digest, artifactType = '' } of found)
      stdout.write(`${familiarName({ ...nameOf(image), digest })} ${artifactType}\n`);
  return 0;
}

function nameOf({ registry, repository }: Reference): Reference {
  return { registry, repository };
}

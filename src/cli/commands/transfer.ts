/** Commands that move images: pull, push, save, load. */
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { loadImages } from '../../engine/load.ts';
import { pullImage } from '../../engine/pull.ts';
import { pushImage } from '../../engine/push.ts';
import { withVertex } from '../../engine/with-vertex.ts';
import { exportDockerArchive, type SavedImage } from '../../exporter/archive.ts';
import { familiarName, parseReference, withDefaultTag, type Reference } from '../../oci/reference.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { readCompressionFlags } from './compression-flags.ts';
import { formatOf, platformOf, rendered, writeDigest } from './transfer-flags.ts';

export async function runPull(flags: ParsedFlags, session: Session): Promise<number> {
  const reference = withDefaultTag(parseReference(flags.words[0] ?? ''));
  const image = await rendered(flags, session, (sink) =>
    pullImage(session.engine(), reference, platformOf(flags, session), { sink, signal: session.signal }),
  );
  session.stdout.write(`${familiarName(reference)}\n${image.manifest?.digest ?? image.id}\n`);
  return 0;
}

/** `push NAME…`: the first name says which image; each is a place that it goes to. */
export async function runPush(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  using _lease = engine.leases.enter();
  const references = flags.words.map((word) => withDefaultTag(parseReference(word)));
  const [first] = references;
  const image = first === undefined ? undefined : await engine.images.byReference(first);
  if (first === undefined || image === undefined)
    throw new TsbuildError('IMAGE_NOT_FOUND', `no such image: ${JSON.stringify(flags.words[0])}`, {
      hint: 'build it with -t, or name it with "tsbuild tag"',
    });
  const format = formatOf(flags);
  const form = readCompressionFlags(flags);
  const digest = await rendered(flags, session, (sink) =>
    pushImage(engine, image, references, { sink, signal: session.signal, format, form }),
  );
  writeDigest(flags, session, digest);
  for (const reference of references) session.stdout.write(`${familiarName(reference)}: digest: ${digest}\n`);
  return 0;
}

export async function runSave(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  using _lease = engine.leases.enter();
  const output = flags.text('output');
  const { stdout, cwd, signal, host } = session;
  if (output === undefined && stdout.isTTY)
    throw new TsbuildError('USAGE', 'cannot write an archive to a terminal', {
      hint: 'use -o FILE, or redirect the output',
    });
  // By id: as with docker, an image is in the archive once, with all its names that were given.
  const saved = new Map<string, SavedImage>();
  for (const name of flags.words) {
    const image = await engine.images.require(name);
    const before = saved.get(image.id)?.references ?? [];
    const asReference = image.tags
      .map((tag) => parseReference(tag))
      .filter(
        (tag) => familiarName(tag) === nameOrNothing(name) && !before.some((each) => isSame(each, tag)),
      );
    saved.set(image.id, { image, references: [...before, ...asReference] });
  }
  await rendered(flags, session, (sink) =>
    withVertex(sink, host, 'save', `saving ${flags.words.join(', ')}`, () =>
      exportDockerArchive(
        [...saved.values()],
        engine.images,
        engine.content,
        output === undefined ? stdout : resolve(cwd, output),
        host,
        { signal },
      ),
    ),
  );
  return 0;
}

function isSame(a: Reference, b: Reference): boolean {
  return familiarName(a) === familiarName(b);
}

function nameOrNothing(text: string): string | undefined {
  try {
    return familiarName(withDefaultTag(parseReference(text)));
  } catch {
    return undefined;
  }
}

export async function runLoad(flags: ParsedFlags, session: Session): Promise<number> {
  const input = flags.text('input');
  const { stdin, cwd, signal, stdout } = session;
  if (input === undefined && stdin.isTTY)
    throw new TsbuildError('USAGE', 'there is no archive on standard input', { hint: 'use -i FILE' });
  const source =
    input === undefined || input === '-'
      ? { stream: stdin as AsyncIterable<Uint8Array> }
      : { path: resolve(cwd, input) };
  const loaded = await rendered(flags, session, (sink) =>
    loadImages(session.engine(), source, platformOf(flags, session), { sink, signal }),
  );
  for (const { image, names } of loaded)
    stdout.write(
      names.length === 0
        ? `Loaded image ID: ${image.id}\n`
        : names.map((name) => `Loaded image: ${name}\n`).join(''),
    );
  return 0;
}

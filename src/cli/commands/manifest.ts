/** `tsbuild manifest inspect|create|push` and `tsbuild tags`. */
import { collect } from '../../content/copy-image.ts';
import { createManifestList, findManifestList, pushManifestList } from '../../engine/manifest-list.ts';
import { chooseManifest } from '../../engine/pull.ts';
import { noticesOf } from '../../engine/transfer-progress.ts';
import { parseReference, withDefaultTag, type Reference } from '../../oci/reference.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { givenPlatform, rendered, writeDigest } from './transfer-flags.ts';

const referenceOf = (word: string): Reference => withDefaultTag(parseReference(word));

/** The document as the registry has it; one that was made here and not yet pushed comes first. */
export async function runManifestInspect(flags: ParsedFlags, session: Session): Promise<number> {
  const name = referenceOf(flags.words[0] ?? '');
  const engine = session.engine();
  const { signal, stdout } = session;
  const list = findManifestList(engine, name);
  if (list !== undefined) {
    stdout.write(`${JSON.stringify(list.index, null, 2)}\n`);
    return 0;
  }
  const platform = givenPlatform(flags, session);
  const bytes = await rendered(flags, session, async (sink) => {
    const io = { signal, onNotice: noticesOf('inspect', session.host, sink) };
    const source = (await engine.registry()).source(name);
    const root = await source.resolve(name, io);
    const chosen = platform === undefined ? root : await chooseManifest(source, root, platform, io);
    return collect(source.open(chosen, io));
  });
  const text = Buffer.from(bytes).toString('utf8');
  stdout.write(flags.boolean('raw') ? text : `${JSON.stringify(JSON.parse(text) as unknown, null, 2)}\n`);
  return 0;
}

export async function runManifestCreate(flags: ParsedFlags, session: Session): Promise<number> {
  const [name, ...members] = flags.words.map(referenceOf);
  if (name === undefined) throw new RangeError('no name');
  const engine = session.engine();
  const { signal } = session;
  const made = await rendered(flags, session, async (sink) => {
    const { digest } = await createManifestList(engine, name, members, { sink, signal });
    return flags.boolean('push') ? pushManifestList(engine, name, [name], { sink, signal }) : digest;
  });
  writeDigest(flags, session, made);
  session.stdout.write(`${made}\n`);
  return 0;
}

export async function runManifestPush(flags: ParsedFlags, session: Session): Promise<number> {
  const [name, ...destinations] = flags.words.map(referenceOf);
  if (name === undefined) throw new RangeError('no name');
  const engine = session.engine();
  const { signal } = session;
  const digest = await rendered(flags, session, (sink) =>
    pushManifestList(engine, name, destinations.length === 0 ? [name] : destinations, { sink, signal }),
  );
  writeDigest(flags, session, digest);
  session.stdout.write(`${digest}\n`);
  return 0;
}

export async function runTags(flags: ParsedFlags, session: Session): Promise<number> {
  const reference = parseReference(flags.words[0] ?? '');
  const { signal, stdout } = session;
  const registry = await session.engine().registry();
  const tags: string[] = [];
  await rendered(flags, session, async (sink) => {
    const onNotice = noticesOf('tags', session.host, sink);
    for await (const tag of registry.tags(reference, { signal, onNotice })) tags.push(tag);
  });
  stdout.write(
    flags.text('format') === 'json' ? `${JSON.stringify(tags)}\n` : tags.map((tag) => `${tag}\n`).join(''),
  );
  return 0;
}

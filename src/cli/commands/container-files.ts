/** `tsbuild cp`, `diff`, `export`, `commit`. */
import { createReadStream, createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import { commitContainer, containerChanges, exportContainer } from '../../engine/containers/commit.ts';
import { copyFiles, copyIn, copyOut, type CopySide } from '../../engine/containers/copy.ts';
import { paused } from '../../engine/containers/paused.ts';
import { spoolTar } from '../../engine/containers/spool-tar.ts';
import type { Engine } from '../../engine/engine.ts';
import { decompress } from '../../layer/decompress.ts';
import { parseReference, withDefaultTag } from '../../oci/reference.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { parseChanges } from './commit-change.ts';

/** `CONTAINER:PATH`, or a path of the host; one with a `:` in it begins with `/` or `.`. */
function sideOf(engine: Engine, text: string, cwd: string): CopySide {
  const colon = text.indexOf(':');
  if (colon <= 0 || /^[./]/.test(text)) {
    // why: resolve() drops the ending that says "what is in it".
    const ending = /\/\.?$/.exec(text)?.[0] ?? (text === '.' ? '/.' : '');
    return { kind: 'host', path: `${resolve(cwd, text)}${ending}` };
  }
  return {
    kind: 'container',
    container: engine.containers.require(text.slice(0, colon)),
    path: text.slice(colon + 1),
  };
}

export async function runCp(flags: ParsedFlags, session: Session): Promise<number> {
  const [fromText = '', toText = ''] = flags.words;
  const { signal, cwd, stdin } = session;
  const engine = session.engine();
  if (fromText === '-') {
    const to = containerSide(sideOf(engine, toText, cwd));
    await copyIn(engine, to.container, to.path, decompress(stdin as AsyncIterable<Uint8Array>), { signal });
    return 0;
  }
  const from = sideOf(engine, fromText, cwd);
  const followLink = flags.boolean('follow-link');
  if (toText === '-') {
    const { container, path } = containerSide(from);
    using tar = await spoolTar(engine, (out) =>
      copyOut(engine, container, path, out, { followLink, signal }),
    );
    await toStdout(tar.path, session);
    return 0;
  }
  const to = sideOf(engine, toText, cwd);
  if (from.kind === 'container' && to.kind === 'container')
    throw new TsbuildError('USAGE', 'copying between containers is not supported', {
      hint: 'use "-" and a pipe',
    });
  if (from.kind === 'host' && to.kind === 'host')
    throw new TsbuildError('USAGE', 'must specify at least one container source', {
      hint: 'write CONTAINER:PATH',
    });
  const owner =
    to.kind === 'host' ? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 } : { uid: 0, gid: 0 };
  await copyFiles(engine, from, to, { archive: flags.boolean('archive'), followLink, owner, signal });
  return 0;
}

/** A reader that goes early (head) has what it wanted. */
async function toStdout(path: string, { stdout, signal }: Session): Promise<void> {
  try {
    await pipeline(createReadStream(path), stdout, { end: false, signal });
  } catch (error) {
    if (errnoOf(error) !== 'EPIPE') throw error;
  }
}

function containerSide(side: CopySide): Extract<CopySide, { kind: 'container' }> {
  if (side.kind === 'container') return side;
  throw new TsbuildError('USAGE', '"-" goes with a container', { hint: 'write CONTAINER:PATH' });
}

export async function runDiff(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const container = engine.containers.require(flags.words[0] ?? '');
  for (const { kind, path } of await containerChanges(engine, container, session.signal))
    session.stdout.write(`${kind} ${path}\n`);
  return 0;
}

export async function runExport(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const container = engine.containers.require(flags.words[0] ?? '');
  const output = flags.text('output');
  const { signal, stdout, cwd } = session;
  if (output === undefined && stdout.isTTY)
    throw new TsbuildError('USAGE', 'cowardly refusing to save to a terminal', {
      hint: 'use --output, or redirect',
    });
  using tar = await spoolTar(engine, (out) => exportContainer(engine, container, out, signal));
  if (output === undefined) await toStdout(tar.path, session);
  else await pipeline(createReadStream(tar.path), createWriteStream(resolve(cwd, output)), { signal });
  return 0;
}

export async function runCommit(flags: ParsedFlags, session: Session): Promise<number> {
  const [reference = '', name] = flags.words;
  const engine = session.engine();
  const container = engine.containers.require(reference);
  const [author, message] = [flags.text('author'), flags.text('message')];
  const request = {
    ...(name === undefined ? {} : { reference: withDefaultTag(parseReference(name)) }),
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { message }),
    change: parseChanges(flags.list('change')),
  };
  const commit = () => commitContainer(engine, container, request, session.signal);
  const image = flags.boolean('pause') ? await paused(container, commit) : await commit();
  session.stdout.write(`${image.id}\n`);
  return 0;
}

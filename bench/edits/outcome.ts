/**
 * What came out of a build, as text that is equal for equal images: the config without times, each layer's entries
 * without times. With SOURCE_DATE_EPOCH the times of files count, too.
 */
import { createHash } from 'node:crypto';
import type { DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { build } from '../../src/engine/build.ts';
import type { BuildRequest } from '../../src/engine/build-request.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import { silentSink } from '../../src/progress/progress.ts';

export interface Outcome {
  readonly text: string;
  readonly executed: number;
  readonly cached: number;
}

/** By diffID: layers are read once. */
const texts = new Map<string, string>();
const MAX_TEXTS = 5000;

export async function outcomeOf(engine: Engine, request: BuildRequest, withTimes: boolean): Promise<Outcome> {
  try {
    const { image, executed, cached } = await build(engine, request, {
      sink: silentSink,
      signal: new AbortController().signal,
    });
    const { config } = image;
    const layers: string[] = [];
    // With one time for all files the digests say everything. What both were given is the base.
    for (const diffID of config.rootfs.diff_ids.slice(1))
      layers.push(withTimes ? diffID : await layerText(engine, diffID));
    const history = config.history.map((entry) => ({ ...entry, created: '' }));
    const bare = { ...config, created: '', history, rootfs: {} };
    return { text: [JSON.stringify(bare), ...layers].join('\n---\n'), executed, cached };
  } catch (error) {
    if (!isTsbuildError(error)) throw error;
    return { text: `${error.code}: ${error.message}`, executed: 0, cached: 0 };
  }
}

async function layerText({ images }: Engine, diffID: DiffID): Promise<string> {
  const known = texts.get(diffID);
  if (known !== undefined) return known;
  const layer = images.openLayer(diffID);
  if (layer === undefined) return `layer ${diffID} is not there`;
  const lines: string[] = [];
  for await (const { entry, body } of readTar(layer.tar())) {
    const hash = createHash('sha256');
    for await (const chunk of body()) hash.update(chunk);
    const xattrs = [...(entry.xattrs ?? [])];
    lines.push(JSON.stringify({ ...entry, mtime: 0, xattrs, content: hash.digest('hex') }));
  }
  const text = lines.join('\n');
  if (texts.size >= MAX_TEXTS) texts.clear();
  texts.set(diffID, text);
  return text;
}

/**
 * A layout that a cache does not have for itself: index.json may name images, or what another builder keeps there, and
 * links may lead out of it. Nothing of others is lost, and nothing is written or removed through a link.
 */
import { lstatSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists } from '../../base/atomic-file.ts';
import { isDigest, pathOf } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { TsbuildError } from '../../base/errors.ts';
import { isJsonObject, type JsonObject } from '../../base/json.ts';
import type { Descriptor } from '../../oci/documents.ts';
import { MAX_DOCUMENT, parseDescriptor, parseManifestOrIndex } from '../../oci/parse.ts';
import { directoryFiles } from '../layout-files.ts';
import { isArtifactType } from './artifacts.ts';
import { isStepTag, isKeptTag } from './cache-spec.ts';
import { invalid } from './step-document.ts';

/** Blobs this young may belong to a tag that is about to be written. */
const YOUNG_MS = 3_600_000;
/** Steps stay so long beyond the plans that have them: builds that were killed leave no plan. */
const KEEP_STEPS_MS = 7 * 86_400_000;
const REF_NAME = 'org.opencontainers.image.ref.name';

/** Before anything is written. Throws CACHE_INVALID. */
export function checkDirectories(directory: string): void {
  for (const name of ['blobs', 'blobs/sha256', 'blobs/sha512', 'tags']) {
    const stat = lstatSync(join(directory, name), { throwIfNoEntry: false });
    if (stat !== undefined && !stat.isDirectory())
      throw new TsbuildError(
        'CACHE_INVALID',
        `${JSON.stringify(join(directory, name))} is ${stat.isSymbolicLink() ? 'a symbolic link' : 'no directory'}, and nothing is written there`,
      );
  }
}

/** An entry of index.json as it stands there. */
export type IndexEntry = JsonObject;

export function nameOfEntry({ annotations }: IndexEntry): string | undefined {
  const name = isJsonObject(annotations) ? annotations[REF_NAME] : undefined;
  return typeof name === 'string' ? name : undefined;
}

/** What index.json names that is no artifact of a cache; nothing where nobody can read it. */
export function foreignEntries(directory: string, tags: readonly string[]): readonly IndexEntry[] {
  const path = join(directory, 'index.json');
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) return [];
  if (stat.size > MAX_DOCUMENT) throw invalid(`index.json has ${stat.size} bytes`);
  const value = readJsonIfExists(path);
  const all: unknown = isJsonObject(value) ? value['manifests'] : undefined;
  const entries = Array.isArray(all) ? (all as readonly unknown[]).filter(isJsonObject) : [];
  return entries.filter((entry) => !isOurs(directory, tags, entry));
}

function isOurs(directory: string, tags: readonly string[], entry: IndexEntry): boolean {
  const name = nameOfEntry(entry);
  if (name === undefined) return false;
  if (isKeptTag(name)) return true;
  const type = configTypeOf(directory, entry);
  return type === undefined ? tags.includes(name) : isArtifactType(type);
}

/** undefined where its manifest cannot be read, or is none. */
function configTypeOf(directory: string, entry: IndexEntry): string | undefined {
  try {
    const { digest } = parseDescriptor(entry, 'an entry', invalid);
    const parsed = parseManifestOrIndex(read(directory, digest), digest);
    return parsed.kind === 'index' ? '' : parsed.manifest.config.mediaType;
  } catch {
    return undefined;
  }
}

function read(directory: string, digest: string): Uint8Array {
  if (!isDigest(digest)) throw invalid('it is no digest');
  const path = join(directory, 'blobs', pathOf(digest));
  const stat = statSync(path);
  if (!stat.isFile() || stat.size > MAX_DOCUMENT) throw invalid('it is no document');
  return readFileSync(path);
}

export interface Sweep {
  readonly names: readonly string[];
  readonly tagged: (name: string) => Descriptor | undefined;
  readonly now: number;
}

/** Removes old steps that no plan has, and blobs that nothing leads to. For layouts without foreign entries. */
export function sweepLayout(directory: string, { names, tagged, now }: Sweep): void {
  const live = new Set<string>();
  for (const name of names) {
    const path = join(directory, 'tags', `${name}.json`);
    const isOld = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) > KEEP_STEPS_MS;
    if (isOld && isStepTag(name)) rmSync(path, { force: true });
    else for (const digest of digestsBelow(directory, tagged(name))) live.add(digest);
  }
  for (const name of namesIn(join(directory, 'blobs/sha256'))) {
    // A blob, or what somebody did not finish.
    if (!/^[0-9a-f]{64}(?:\.|$)/.test(name)) continue;
    const path = join(directory, 'blobs/sha256', name);
    const isYoung = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < YOUNG_MS;
    if (!isYoung && !live.has(`sha256:${name}`)) rmSync(path, { force: true });
  }
}

/** The manifest and what it names; what cannot be read leads to nothing. */
function digestsBelow(directory: string, manifest: Descriptor | undefined): readonly string[] {
  if (manifest === undefined || !isDigest(manifest.digest)) return [];
  try {
    const bytes = directoryFiles(directory).read(`blobs/${pathOf(manifest.digest)}`);
    const parsed = parseManifestOrIndex(bytes, manifest.digest);
    const named =
      parsed.kind === 'index' ? parsed.index.manifests : [parsed.manifest.config, ...parsed.manifest.layers];
    return [manifest.digest, ...named.map(({ digest }) => digest)];
  } catch {
    return [manifest.digest];
  }
}

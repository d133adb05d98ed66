/**
 * OCI and docker documents from outside: bounded, checked, and told apart. Throws IMAGE_INVALID naming the member.
 *
 * Spec: OCI image-spec v1.1.1; docker image manifest v2 schema 2.
 */
import { isDiffID, isDigest, type DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import {
  MEDIA_TYPES,
  type Descriptor,
  type HistoryEntry,
  type ImageConfig,
  type Index,
  type Manifest,
  type Platform,
  type RunConfig,
} from './documents.ts';

/** Manifests, indexes and configs beyond this are refused (registries allow 4 MiB). */
export const MAX_DOCUMENT = 8 << 20;

const INDEX_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.index, MEDIA_TYPES.dockerIndex]);
const MANIFEST_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.manifest, MEDIA_TYPES.dockerManifest]);

/** `statesType`: the document has a media type of its own; where it has none, one is put in. */
export type ManifestOrIndex =
  | { readonly kind: 'manifest'; readonly manifest: Manifest; readonly statesType: boolean }
  | { readonly kind: 'index'; readonly index: Index; readonly statesType: boolean };

/** `what` is for messages, e.g. the reference. */
export function parseManifestOrIndex(bytes: Uint8Array, what: string): ManifestOrIndex {
  const value = parseObject(bytes, what);
  const fail = (message: string, hint?: string): TsbuildError =>
    new TsbuildError('IMAGE_INVALID', `${what}: ${message}`, hint === undefined ? {} : { hint });
  if (value['schemaVersion'] === 1 || Array.isArray(value['fsLayers']))
    throw fail(
      'it has an image manifest of schema 1, which is no longer supported',
      'push it again with a current docker, or copy it with skopeo',
    );
  const isIndex = value['manifests'] !== undefined && value['manifests'] !== null;
  // why: a document that is both could be shown as one to a scanner and as the other to us (CVE-2021-41190).
  if (isIndex && (value['layers'] !== undefined || value['config'] !== undefined))
    throw fail('the manifest is ambiguous: it has both manifests and layers');
  const type = value['mediaType'];
  if (type !== undefined && typeof type !== 'string') throw fail('mediaType is not a string');
  if (isIndex) {
    if (type !== undefined && !INDEX_TYPES.has(type))
      throw fail(`an index has the media type ${JSON.stringify(type)}`);
    const manifests = arrayOf(value['manifests'], 'manifests', fail).map((each, index) =>
      parseDescriptor(each, `manifests[${index}]`, fail),
    );
    return {
      kind: 'index',
      statesType: type !== undefined,
      index: {
        schemaVersion: 2,
        mediaType: type ?? MEDIA_TYPES.index,
        ...optionalText(value, 'artifactType', '', fail),
        manifests,
        ...subjectOf(value, fail),
        ...annotationsOf(value, 'annotations', fail),
      },
    };
  }
  if (type !== undefined && !MANIFEST_TYPES.has(type))
    throw fail(`a manifest has the media type ${JSON.stringify(type)}`);
  if (value['config'] === undefined || value['layers'] === undefined)
    throw fail('it is neither an image manifest nor an index');
  const config = parseDescriptor(value['config'], 'config', fail);
  const layers = arrayOf(value['layers'], 'layers', fail).map((each, index) =>
    parseDescriptor(each, `layers[${index}]`, fail),
  );
  return {
    kind: 'manifest',
    statesType: type !== undefined,
    manifest: {
      schemaVersion: 2,
      mediaType: type ?? MEDIA_TYPES.manifest,
      ...optionalText(value, 'artifactType', '', fail),
      config,
      layers,
      ...subjectOf(value, fail),
      ...annotationsOf(value, 'annotations', fail),
    },
  };
}

function subjectOf(value: JsonObject, fail: Fail): { readonly subject?: Descriptor } {
  const { subject } = value;
  return subject === undefined || subject === null
    ? {}
    : { subject: parseDescriptor(subject, 'subject', fail) };
}

type Fail = (message: string) => TsbuildError;

function parseObject(bytes: Uint8Array, what: string): JsonObject {
  if (bytes.byteLength > MAX_DOCUMENT)
    throw new TsbuildError(
      'IMAGE_INVALID',
      `${what}: the document has ${bytes.byteLength} bytes; at most ${MAX_DOCUMENT} are read`,
    );
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new TsbuildError('IMAGE_INVALID', `${what}: the document is not JSON`, { cause: error });
  }
  if (!isJsonObject(value))
    throw new TsbuildError('IMAGE_INVALID', `${what}: the document is not a JSON object`);
  return value;
}

function arrayOf(value: unknown, path: string, fail: Fail): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw fail(`${path} is not an array`);
  return value;
}

function textOf(value: unknown, path: string, fail: Fail): string {
  if (typeof value !== 'string') throw fail(`${path} is not a string`);
  return value;
}

function optionalText<K extends string>(
  object: JsonObject,
  key: K,
  path: string,
  fail: Fail,
): { readonly [P in K]?: string } {
  const value = object[key];
  return (
    value === undefined || value === null || value === ''
      ? {}
      : { [key]: textOf(value, `${path}${key}`, fail) }
  ) as { readonly [P in K]?: string };
}

function annotationsOf(
  object: JsonObject,
  key: 'annotations',
  fail: Fail,
): { readonly annotations?: Record<string, string> } {
  const value = object[key];
  return value === undefined || value === null ? {} : { annotations: recordOf(value, key, fail) };
}

function recordOf(value: unknown, path: string, fail: Fail): Record<string, string> {
  if (!isJsonObject(value)) throw fail(`${path} is not an object`);
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, textOf(each, `${path}.${key}`, fail)]),
  );
}

export function parseDescriptor(value: unknown, path: string, fail: Fail): Descriptor {
  if (!isJsonObject(value)) throw fail(`${path} is not an object`);
  const digest = textOf(value['digest'], `${path}.digest`, fail);
  if (!isDigest(digest))
    throw fail(`${path}.digest is not a digest by sha256 or sha512: ${JSON.stringify(digest)}`);
  const { size } = value;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw fail(`${path}.size is not a size`);
  const platform = value['platform'];
  const urls = value['urls'];
  return {
    mediaType: textOf(value['mediaType'] ?? 'application/octet-stream', `${path}.mediaType`, fail),
    digest,
    size,
    ...annotationsOf(value, 'annotations', (message) => fail(`${path}.${message}`)),
    ...(isJsonObject(platform) ? { platform: parsePlatformObject(platform, `${path}.platform.`, fail) } : {}),
    ...optionalText(value, 'artifactType', `${path}.`, fail),
    ...(urls === undefined || urls === null ? {} : { urls: textsOf(urls, `${path}.urls`, fail) }),
    ...optionalText(value, 'data', `${path}.`, fail),
  };
}

function textsOf(value: unknown, path: string, fail: Fail): readonly string[] {
  return arrayOf(value, path, fail).map((each, index) => textOf(each, `${path}[${index}]`, fail));
}

function parsePlatformObject(object: JsonObject, path: string, fail: Fail): Platform {
  const features = object['os.features'];
  return {
    os: textOf(object['os'] ?? '', `${path}os`, fail),
    architecture: textOf(object['architecture'] ?? '', `${path}architecture`, fail),
    ...optionalText(object, 'variant', path, fail),
    ...optionalText(object, 'os.version', path, fail),
    ...(features === undefined || features === null
      ? {}
      : { 'os.features': textsOf(features, `${path}os.features`, fail) }),
  };
}

/** An image config; members that it should not have are dropped. */
export function parseImageConfig(bytes: Uint8Array, what: string): ImageConfig {
  const value = parseObject(bytes, what);
  const fail = (message: string): TsbuildError => new TsbuildError('IMAGE_INVALID', `${what}: ${message}`);
  const rootfs = value['rootfs'];
  if (!isJsonObject(rootfs)) throw fail('the config has no rootfs');
  const diffIDs = textsOf(rootfs['diff_ids'], 'rootfs.diff_ids', fail);
  for (const diffID of diffIDs)
    if (!isDiffID(diffID)) throw fail(`rootfs.diff_ids holds ${JSON.stringify(diffID)}`);
  const config = value['config'];
  return {
    ...parsePlatformObject(value, '', fail),
    ...optionalText(value, 'created', '', fail),
    ...optionalText(value, 'author', '', fail),
    config: isJsonObject(config) ? parseRunConfig(config, fail) : {},
    rootfs: { type: 'layers', diff_ids: diffIDs as readonly DiffID[] },
    history: arrayOf(value['history'], 'history', fail).map((each, index) =>
      parseHistory(each, `history[${index}].`, fail),
    ),
  };
}

function parseHistory(value: unknown, path: string, fail: Fail): HistoryEntry {
  if (!isJsonObject(value)) throw fail(`${path} is not an object`);
  return {
    ...optionalText(value, 'created', path, fail),
    ...optionalText(value, 'created_by', path, fail),
    ...optionalText(value, 'author', path, fail),
    ...optionalText(value, 'comment', path, fail),
    ...(value['empty_layer'] === true ? { empty_layer: true } : {}),
  };
}

function parseRunConfig(value: JsonObject, fail: Fail): RunConfig {
  const texts = <K extends keyof RunConfig>(key: K): { readonly [P in K]?: readonly string[] } => {
    const list = value[key];
    return (list === undefined || list === null ? {} : { [key]: textsOf(list, `config.${key}`, fail) }) as {
      readonly [P in K]?: readonly string[];
    };
  };
  const keys = <K extends keyof RunConfig>(
    key: K,
  ): { readonly [P in K]?: Record<string, Record<string, never>> } => {
    const object = value[key];
    if (!isJsonObject(object)) return {};
    return { [key]: Object.fromEntries(Object.keys(object).map((each) => [each, {}])) } as {
      readonly [P in K]?: Record<string, Record<string, never>>;
    };
  };
  const labels = value['Labels'];
  const health = value['Healthcheck'];
  return {
    ...optionalText(value, 'User', 'config.', fail),
    ...keys('ExposedPorts'),
    ...texts('Env'),
    ...texts('Entrypoint'),
    ...texts('Cmd'),
    ...keys('Volumes'),
    ...optionalText(value, 'WorkingDir', 'config.', fail),
    ...(isJsonObject(labels) ? { Labels: recordOf(labels, 'config.Labels', fail) } : {}),
    ...optionalText(value, 'StopSignal', 'config.', fail),
    ...(value['ArgsEscaped'] === true ? { ArgsEscaped: true } : {}),
    ...(isJsonObject(health) ? { Healthcheck: parseHealth(health, fail) } : {}),
    ...texts('OnBuild'),
    ...texts('Shell'),
  };
}

function parseHealth(value: JsonObject, fail: Fail): NonNullable<RunConfig['Healthcheck']> {
  const number = (key: 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval' | 'Retries'): object =>
    typeof value[key] === 'number' ? { [key]: value[key] } : {};
  const test = value['Test'];
  return {
    ...(test === undefined || test === null ? {} : { Test: textsOf(test, 'config.Healthcheck.Test', fail) }),
    ...number('Interval'),
    ...number('Timeout'),
    ...number('StartPeriod'),
    ...number('StartInterval'),
    ...number('Retries'),
  };
}

/** A config's bytes: members in the specification's order, as docker writes them. */
export function serializeConfig(config: ImageConfig): string {
  return JSON.stringify(config);
}

/** Images as lists and templates show them. Columns: docker/cli, formatter/image.go and formatter/history. */
import type { StoredImage } from '../../image/image-store.ts';
import type { HistoryEntry } from '../../oci/documents.ts';
import type { ListView } from '../format/rows.ts';
import { mapOf, type Struct, type Value } from '../format/values.ts';
import { age, decimalSize, ellipsis, goTime, shortID } from './words.ts';

export const IMAGE_LIST: ListView = {
  headings: {
    Containers: 'CONTAINERS',
    CreatedAt: 'CREATED AT',
    CreatedSince: 'CREATED',
    Digest: 'DIGEST',
    ID: 'IMAGE ID',
    Repository: 'REPOSITORY',
    SharedSize: 'SHARED SIZE',
    Size: 'SIZE',
    Tag: 'TAG',
    UniqueSize: 'UNIQUE SIZE',
    VirtualSize: 'SIZE',
  },
  table: '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}',
  quiet: 'ID',
};

export const IMAGE_DIGEST_TABLE =
  'table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}';

export interface ListedImage {
  readonly image: StoredImage;
  /** One of its names; undefined where it has none. */
  readonly tag: string | undefined;
  readonly size: number;
  /** How many containers are made of it. */
  readonly containers: number;
}

export function imageRow(
  { image, tag, size, containers }: ListedImage,
  nowMs: number,
  whole: boolean,
): Struct {
  return {
    Containers: String(containers),
    CreatedAt: goTime(image.config.created),
    CreatedSince: age(image.config.created, nowMs),
    Digest: image.manifest?.digest ?? '<none>',
    ID: shortID(image.id, whole),
    Repository: tag === undefined ? '<none>' : repositoryOf(tag),
    SharedSize: 'N/A',
    Size: decimalSize(size),
    Tag: tag === undefined ? '<none>' : tag.slice(tag.lastIndexOf(':') + 1),
    UniqueSize: 'N/A',
    VirtualSize: decimalSize(size),
  };
}

export function repositoryOf(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}

export const HISTORY_LIST: ListView = {
  headings: {
    ID: 'IMAGE',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    CreatedBy: 'CREATED BY',
    Size: 'SIZE',
    Comment: 'COMMENT',
  },
  table: '{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}',
  quiet: 'ID',
};

export interface HistoryLine {
  readonly entry: HistoryEntry;
  readonly size: number;
  /** Id of the image, of its newest entry alone. */
  readonly id: string | undefined;
}

export function historyRow(
  { entry, size, id }: HistoryLine,
  nowMs: number,
  { whole, human }: { readonly whole: boolean; readonly human: boolean },
): Struct {
  const command = (entry.created_by ?? '').replaceAll('\t', ' ');
  return {
    ID: id === undefined ? '<missing>' : shortID(id, whole),
    CreatedSince: human ? age(entry.created, nowMs) : (entry.created ?? ''),
    CreatedAt: entry.created ?? '',
    CreatedBy: whole ? command : ellipsis(command.replace(/\s+/g, ' '), 45),
    Size: human ? decimalSize(size) : String(size),
    Comment: entry.comment ?? '',
  };
}

/** What docker leaves out of JSON where it is empty, and templates may ask for all the same. */
function withEmpty(shown: Struct, fields: Struct): Struct {
  const absent = Object.entries(fields).filter(([field]) => !Object.hasOwn(shown, field));
  return Object.defineProperties(
    { ...shown },
    Object.fromEntries(absent.map(([field, value]) => [field, { value, enumerable: false }])),
  );
}

/** What `inspect` shows of an image. */
export function inspectedImage({ id, config, tags, manifest }: StoredImage, size: number): Value {
  const repositories = [...new Set(tags.map(repositoryOf))];
  const shown = {
    Id: id,
    RepoTags: tags,
    RepoDigests: manifest === undefined ? [] : repositories.map((name) => `${name}@${manifest.digest}`),
    Parent: '',
    Comment: config.history.at(-1)?.comment ?? '',
    Created: config.created ?? '',
    Author: config.author ?? '',
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: size,
    Config: configValue(config.config),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
  };
  return withEmpty(shown, { Variant: '', OsVersion: '', DockerVersion: '', VirtualSize: size });
}

/** Sets and labels are maps: a name that is not in them is no error. */
function configValue(config: StoredImage['config']['config']): Value {
  const { ExposedPorts, Volumes, Labels, Healthcheck, ...rest } = config;
  const set = (names: Readonly<Record<string, Record<string, never>>> | undefined): Value =>
    names === undefined ? null : mapOf(names);
  return {
    ...{ User: '', Env: null, Cmd: null, Entrypoint: null, WorkingDir: '', OnBuild: null },
    ...rest,
    ExposedPorts: set(ExposedPorts),
    Volumes: set(Volumes),
    Labels: Labels === undefined ? null : mapOf(Labels),
    ...(Healthcheck === undefined ? {} : { Healthcheck: { ...Healthcheck } }),
  };
}

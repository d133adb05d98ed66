/** Where a recorded step stood: what the comparison of two executions needs besides their keys. */
import { formatPlatform } from '../../oci/platform.ts';
import { isDigest, type Digest } from '../../base/digest.ts';
import { isJsonObject, type Json } from '../../base/json.ts';
import { redact } from '../../base/redact.ts';
import { isInternal, type StepPlace, type Vertex } from '../../graph/graph.ts';

export type InputOrigin =
  | {
      readonly kind: 'image';
      readonly reference: string;
      readonly image?: Digest;
      /** `os/architecture`; absent for scratch, and where an earlier version wrote it. */
      readonly platform?: string;
    }
  | { readonly kind: 'context'; readonly name: string }
  | { readonly kind: 'fetched'; readonly url: string }
  | {
      readonly kind: 'step';
      readonly name: string;
      readonly stage: string;
      /** Where COPY --link put layers on top of it: what lies below them all. */
      readonly onto?: InputOrigin;
    };

export interface StepOrigin extends StepPlace {
  readonly inputs: readonly InputOrigin[];
  /** The image that its stage begins with in the end, whatever lies between. Absent in older records. */
  readonly base?: InputOrigin;
  /** `os/architecture` of the stage, where the step has one. */
  readonly platform?: string;
  /** Which input each mount of a RUN takes its files from; null: none. */
  readonly mountInputs?: readonly (number | null)[];
  /** Which input each source of a COPY comes from; null: it stands in the Dockerfile. Absent in older records. */
  readonly sourceInputs?: readonly (number | null)[];
  /** Patterns of each source of a COPY, as expanded. */
  readonly patterns?: readonly (readonly string[])[];
  /** The ignore file of the build context: its name, and the digest of its text (kept as a document). */
  readonly ignore?: { readonly file: string; readonly text: Digest };
}

/** undefined for vertices that stand in no Dockerfile. */
export function originOf(vertex: Vertex, ignore?: StepOrigin['ignore']): StepOrigin | undefined {
  const { op, place } = vertex;
  if (place === undefined) return undefined;
  return {
    ...place,
    inputs: vertex.inputs.map(inputOrigin),
    base: inputOrigin(bottomOf(vertex)),
    ...(op.kind === 'run'
      ? {
          platform: formatPlatform(op.platform),
          mountInputs: op.mounts.map((mount) => ('input' in mount ? (mount.input ?? null) : null)),
        }
      : {}),
    ...(op.kind === 'copy'
      ? {
          patterns: op.sources.map((source) => (source.kind === 'paths' ? source.patterns : [])),
          sourceInputs: op.sources.map((source) => (source.kind === 'inline' ? null : source.input)),
        }
      : {}),
    ...(ignore === undefined ? {} : { ignore }),
  };
}

function inputOrigin(vertex: Vertex): InputOrigin {
  const { op, name, place, inputs } = vertex;
  switch (op.kind) {
    case 'image':
      return op.image === undefined
        ? { kind: 'image', reference: 'scratch' }
        : {
            kind: 'image',
            reference: op.image.reference,
            image: op.image.manifest,
            platform: formatPlatform(op.platform),
          };
    case 'context':
      return { kind: 'context', name: op.name };
    case 'git':
    case 'http':
      return { kind: 'fetched', url: redact(op.url) };
    case 'copy':
      // What carries files to a mount stands in no Dockerfile: they are those of what it takes them from.
      if (isInternal(vertex) && inputs[1] !== undefined) return inputOrigin(inputs[1]);
      return { kind: 'step', name, stage: (place ?? inputs.at(-1)?.place)?.stage ?? '' };
    case 'run':
      return { kind: 'step', name, stage: place?.stage ?? '' };
    case 'merge':
      return mergedOrigin(inputs);
  }
}

function bottomOf(vertex: Vertex): Vertex {
  let at = vertex;
  for (let [below] = at.inputs; below !== undefined; [below] = at.inputs) at = below;
  return at;
}

/** By the name of the step that put the last layer on top. */
function mergedOrigin(inputs: readonly Vertex[]): InputOrigin {
  const [below, layer] = [inputs[0], inputs.at(-1)];
  let bottom = below;
  while (bottom?.op.kind === 'merge') bottom = bottom.inputs[0];
  return {
    kind: 'step',
    name: layer?.name ?? '',
    stage: layer?.place?.stage ?? '',
    ...(bottom === undefined ? {} : { onto: inputOrigin(bottom) }),
  };
}

/** undefined where it does not parse: it may come from elsewhere, and what is made of it is shown. */
export function parseOrigin(value: Json | undefined): StepOrigin | undefined {
  if (!isJsonObject(value)) return undefined;
  const { stage, step, text, variables, args, derived, settings, heredocs } = value;
  const { inputs, base, inherited, platform, mountInputs, sourceInputs, patterns, ignore } = value;
  const isComplete =
    isText(stage) &&
    typeof step === 'number' &&
    isText(text) &&
    areTexts(variables) &&
    isListOf(args, isText) &&
    [derived, settings].every((texts) => texts === undefined || areTexts(texts)) &&
    (heredocs === undefined || isText(heredocs)) &&
    isListOf(inputs, isInput) &&
    (base === undefined || isInput(base)) &&
    (inherited === undefined || isListOf(inherited, isText)) &&
    (platform === undefined || isText(platform)) &&
    [mountInputs, sourceInputs].every((list) => list === undefined || isListOf(list, isInputNumber)) &&
    (patterns === undefined || isListOf(patterns, (each) => isListOf(each, isText))) &&
    (ignore === undefined || isIgnore(ignore));
  return isComplete ? (value as unknown as StepOrigin) : undefined;
}

function isInputNumber(value: Json): boolean {
  return value === null || typeof value === 'number';
}

function areTexts(value: Json | undefined): boolean {
  return isJsonObject(value) && Object.values(value).every(isText);
}

function isText(value: Json | undefined): boolean {
  return typeof value === 'string';
}

function isListOf(value: Json | undefined, isOne: (value: Json) => boolean): boolean {
  return Array.isArray(value) && (value as readonly Json[]).every(isOne);
}

function isInput(value: Json): boolean {
  if (!isJsonObject(value)) return false;
  const { kind, reference, image, platform, name, url, stage, onto } = value;
  switch (kind) {
    case 'image':
      return (
        isText(reference) &&
        (image === undefined || isText(image)) &&
        (platform === undefined || isText(platform))
      );
    case 'context':
      return isText(name);
    case 'fetched':
      return isText(url);
    case 'step':
      return isText(name) && isText(stage) && (onto === undefined || isInput(onto));
    default:
      return false;
  }
}

function isIgnore(value: Json): boolean {
  return (
    isJsonObject(value) &&
    isText(value['file']) &&
    typeof value['text'] === 'string' &&
    isDigest(value['text'])
  );
}

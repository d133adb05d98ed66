/** An image seen through the other family's documents: a source of converted manifests over the same blobs. */
import { collect, isManifestType } from '../content/copy-image.ts';
import type { BlobSource, IoOptions } from '../content/roles.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { TsbuildError } from '../base/errors.ts';
import { convertIndex, convertManifest, isConvertible, type Family } from '../oci/convert.ts';
import type { Descriptor } from '../oci/documents.ts';
import { parseManifestOrIndex } from '../oci/parse.ts';

export interface ConvertedImage {
  readonly root: Descriptor;
  readonly source: BlobSource;
}

const MAX_DEPTH = 4;

/** Throws IMAGE_INVALID where the family cannot hold it. */
export async function convertImage(
  root: Descriptor,
  from: BlobSource,
  family: Family,
  io: IoOptions,
): Promise<ConvertedImage> {
  const written = new Map<string, Uint8Array>();

  async function convert(node: Descriptor, depth: number): Promise<Descriptor> {
    if (depth > MAX_DEPTH)
      throw new TsbuildError('IMAGE_INVALID', `indexes are nested more than ${MAX_DEPTH} deep`);
    const bytes = await collect(from.open(node, io));
    const parsed = parseManifestOrIndex(bytes, `manifest ${node.digest}`);
    const document = jsonOf(bytes);
    if (parsed.kind === 'manifest') return keep(convertManifest(document, family));
    const children = new Map<string, Descriptor>();
    for (const child of parsed.index.manifests)
      if (isManifestType(child.mediaType) && isConvertible(child, family))
        children.set(child.digest, await convert(child, depth + 1));
    return keep(convertIndex(document, children, family));
  }

  function keep({
    descriptor,
    bytes,
  }: {
    readonly descriptor: Descriptor;
    readonly bytes: Uint8Array;
  }): Descriptor {
    written.set(descriptor.digest, bytes);
    return descriptor;
  }

  const converted = await convert(root, 0);
  return {
    root: converted,
    source: {
      ...from,
      open(blob, options) {
        const bytes = written.get(blob.digest);
        return bytes === undefined ? from.open(blob, options) : once(bytes);
      },
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function jsonOf(bytes: Uint8Array): JsonObject {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (!isJsonObject(value)) throw new TsbuildError('IMAGE_INVALID', 'the document is not a JSON object');
  return value;
}

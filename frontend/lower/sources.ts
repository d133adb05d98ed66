/** Vertices that nothing goes into: images, contexts, repositories. */
import type { SourceRef } from '../../src/base/errors.ts';
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { Platform } from '../../src/oci/documents.ts';
import type { GitSource, ResolvedImage } from '../request.ts';

export function contextVertex(name: string): Vertex {
  return createVertex({
    op: { kind: 'context', name },
    inputs: [],
    name: name === 'context' ? '[internal] load build context' : `[context ${name}] load from client`,
  });
}

export function scratchVertex(platform: Platform): Vertex {
  return createVertex({ op: { kind: 'image', platform }, inputs: [], name: 'FROM scratch' });
}

export function imageVertex(
  { reference, manifest }: ResolvedImage,
  platform: Platform,
  name: string,
  source: SourceRef,
): Vertex {
  return createVertex({
    op: { kind: 'image', image: { reference, manifest }, platform },
    inputs: [],
    name,
    source,
  });
}

export function gitVertex(repository: GitSource, source?: SourceRef): Vertex {
  return createVertex({
    op: { kind: 'git', ...repository },
    inputs: [],
    name: `git ${repository.url.replace(/:\/\/[^/@]*@/, '://***@')}${repository.ref === undefined ? '' : `#${repository.ref}`}`,
    ...(source === undefined ? {} : { source }),
  });
}

/**
 * From a solved graph to an image config: diffIDs, history and times.
 *
 * A layer's history entry takes the time when the layer was made, a metadata entry that of the entry before it, so
 * a build in which everything was cached gives the same config, and so the same image id, as the one before.
 * Times are clamped to SOURCE_DATE_EPOCH where it is set; the base image's own history stays as it is.
 *
 * Spec: OCI image-spec v1.1.1, config.md.
 */
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { BuildGraph } from '../graph/graph.ts';
import { formatTime, type HistoryEntry, type ImageConfig } from '../oci/documents.ts';
import type { Result, StackResult } from '../solver/result.ts';

export function assembleConfig(
  graph: BuildGraph,
  results: ReadonlyMap<Digest, Result>,
  nowMs: number,
): ImageConfig {
  const stack = stackOf(graph.target.id, results);
  const clamp = (ms: number): string => formatTime(Math.min(ms, epochMs(graph)));
  const baseCreated = graph.baseHistory.at(-1)?.created;
  const isEarly = Date.parse(baseCreated ?? '') <= epochMs(graph);
  let last = baseCreated !== undefined && isEarly ? baseCreated : clamp(stack.layers[0]?.created ?? nowMs);

  const history: HistoryEntry[] = [...graph.baseHistory];
  for (const step of graph.history) {
    const layer = step.vertex === undefined ? undefined : stackOf(step.vertex.id, results).layers.at(-1);
    if (layer !== undefined) last = clamp(layer.created);
    history.push({
      created: last,
      created_by: step.createdBy,
      comment: step.comment,
      ...(layer === undefined ? { empty_layer: true } : {}),
    });
  }
  const { platform } = graph;
  return {
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    config: graph.config,
    created: last,
    ...(graph.author === undefined ? {} : { author: graph.author }),
    history,
    os: platform.os,
    ...(platform['os.version'] === undefined ? {} : { 'os.version': platform['os.version'] }),
    rootfs: { type: 'layers', diff_ids: stack.layers.map((layer) => layer.diffID) },
  };
}

function epochMs({ sourceDateEpoch }: BuildGraph): number {
  return sourceDateEpoch === undefined ? Infinity : sourceDateEpoch * 1000;
}

function stackOf(id: Digest, results: ReadonlyMap<Digest, Result>): StackResult {
  const result = results.get(id);
  if (result?.kind !== 'stack')
    throw new TsbuildError('IMAGE_INVALID', 'cannot make an image of something that has no root file system');
  return result;
}

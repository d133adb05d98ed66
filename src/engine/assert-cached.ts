/** `--assert-cached`: which steps must not be executed. */
import { TsbuildError } from '../base/errors.ts';
import type { Digest } from '../base/digest.ts';
import { suggest } from '../base/suggest.ts';
import type { Vertex } from '../graph/graph.ts';
import { listStages } from '../../frontend/frontend.ts';
import type { DockerfileText } from './build-sources.ts';

/** Steps of these stages; all steps where none is named. Throws STAGE_NOT_FOUND. */
export function stepsToAssert(
  target: Vertex,
  stages: readonly string[],
  dockerfile: DockerfileText,
): (vertex: Vertex) => boolean {
  if (stages.length === 0) return () => true;
  const names = listStages(dockerfile).map(({ name, index }) => name ?? `stage-${index}`);
  const wanted = new Set(stages.map((stage) => stage.toLowerCase()));
  for (const stage of wanted)
    if (!names.includes(stage)) {
      const near = suggest(stage, names);
      throw new TsbuildError('STAGE_NOT_FOUND', `--assert-cached names no stage: ${JSON.stringify(stage)}`, {
        hint: near === undefined ? `use one of ${names.join(', ')}` : `did you mean ${JSON.stringify(near)}?`,
      });
    }
  const ids = idsOf(target, wanted);
  return ({ id }) => ids.has(id);
}

/** A vertex of two stages is there twice, under one id. */
function idsOf(target: Vertex, stages: ReadonlySet<string>): ReadonlySet<Digest> {
  const ids = new Set<Digest>();
  const seen = new Set<Vertex>();
  const stack = [target];
  for (let vertex = stack.pop(); vertex !== undefined; vertex = stack.pop()) {
    if (seen.has(vertex)) continue;
    seen.add(vertex);
    if (vertex.place !== undefined && stages.has(vertex.place.stage)) ids.add(vertex.id);
    stack.push(...vertex.inputs);
  }
  return ids;
}

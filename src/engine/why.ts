/** `tsbuild why`: which steps of a build are cached, which would be executed, and what differs. Executes nothing. */
import type { Cause } from '../progress/cause.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { SurveyedStep } from '../solver/why/survey.ts';
import { createGraphs } from './build-graphs.ts';
import type { BuildRequest } from './build-request.ts';
import type { CacheSource } from './cache/cache-spec.ts';
import { openCache } from './open-cache.ts';
import { prepareBuild } from './prepare-build.ts';
import type { Engine } from './engine.ts';
import type { CallOptions } from './with-vertex.ts';

/** A step of the Dockerfile. Plain data: what `--format json` prints. */
export interface WhyStep {
  /** Counted over all steps, from 1. */
  readonly number: number;
  readonly platform: string;
  /** As in progress: `[build 2/5] RUN npm ci`. */
  readonly name: string;
  readonly stage: string;
  /** As in `2/5`; absent for what a step mounts. */
  readonly line?: number;
  readonly state: 'given' | 'cached' | 'executed' | 'depends';
  /** Whose result would be used, where it is not one of this machine. */
  readonly from?: 'remote';
  /** Why it would be executed. */
  readonly causes: readonly Cause[];
  /** Names of the steps that it depends on. */
  readonly follows: readonly string[];
  /** The execution whose result is used, or the nearest one before. */
  readonly last?: {
    /** Milliseconds since the epoch. */
    readonly finished: number;
    readonly tookMs: number;
    readonly causes: readonly Cause[];
  };
}

export async function explainBuild(
  engine: Engine,
  request: BuildRequest,
  options: CallOptions,
): Promise<readonly WhyStep[]> {
  using prepared = await prepareBuild(engine, request, options);
  const reading = { ...request, cacheFrom: withoutMounts(request), cacheTo: [] };
  const cache = await openCache(engine, reading, prepared, options);
  await cache?.ready();
  const steps: WhyStep[] = [];
  for (const graph of await createGraphs(engine, request, prepared, options))
    for (const surveyed of await prepared.surveyGraph(graph, cache?.forGraph(graph, graph.platform))) {
      const step = describeStep(surveyed, steps.length + 1, formatPlatform(graph.platform));
      if (step !== undefined) steps.push(step);
    }
  prepared.contexts.save();
  return steps;
}

/** Nothing is executed, so nothing is mounted. */
function withoutMounts({ cacheFrom = [] }: BuildRequest): readonly CacheSource[] {
  return cacheFrom.map((spec) => ({ ...spec, mounts: false }));
}

/** What stands in the Dockerfile: bases and steps, and not what only carries files from one to another. */
function describeStep(
  { vertex, state, from, causes, follows, record }: SurveyedStep,
  number: number,
  platform: string,
): WhyStep | undefined {
  const { op, name, place, source } = vertex;
  if (op.kind === 'merge' || op.kind === 'context' || source === undefined) return undefined;
  return {
    number,
    platform,
    name,
    stage: place?.stage ?? '',
    line: source.range.startLine,
    state,
    ...(from === undefined ? {} : { from }),
    causes,
    follows: follows.map((each) => each.name),
    ...(record === undefined
      ? {}
      : { last: { finished: record.finished, tookMs: record.tookMs, causes: record.causes ?? [] } }),
  };
}

/**
 * The frontend: the text of a Dockerfile in, a build graph and an image config out.
 *
 * Pure: it reads no file and opens no connection. It asks one question of the outside, resolveImage, because ENV,
 * ONBUILD, USER and WORKDIR come from the base's config, and only for stages that the target needs.
 */
import type { BuildGraph, FrontendWarning } from '../src/graph/graph.ts';
import { parseInstruction } from './instructions/parse-instruction.ts';
import { findTarget, splitStages } from './lower/stages.ts';
import { createLowering } from './lower/lowering.ts';
import { globalVariables } from './lower/global-args.ts';
import { parseLines } from './parse/lines.ts';
import type { FrontendRequest } from './request.ts';

/** Throws TsbuildError with a place in the Dockerfile; whatever resolveImage throws comes out with its FROM's place. */
export async function createBuildGraph(request: FrontendRequest): Promise<BuildGraph> {
  const parsed = parseLines({ file: request.file, text: request.text });
  const { escape } = parsed.directives;
  const instructions = parsed.instructions.map((raw) => parseInstruction(raw, escape));
  const warnings: FrontendWarning[] = [...parsed.warnings];
  const { globals, stages } = splitStages(instructions, { file: request.file, text: request.text });
  const target = findTarget(stages, request.target);
  const variables = globalVariables(globals, request, target.name, escape, warnings);
  const lowering = createLowering({ request, stages, variables, escape, warnings });
  const state = await lowering.stage(target.index);
  const { config } = state;
  const labels = { ...config.Labels, ...request.labels };
  const epoch = variables.get('SOURCE_DATE_EPOCH');
  return {
    target: state.vertex,
    platform: state.platform,
    config: { ...config, ...(Object.keys(labels).length === 0 ? {} : { Labels: sortKeys(labels) }) },
    ...(state.author === undefined ? {} : { author: state.author }),
    baseHistory: state.baseHistory,
    history: state.history,
    ...(epoch === undefined || epoch === '' ? {} : { sourceDateEpoch: Number(epoch) }),
    warnings: [...warnings, ...lowering.unusedArgs()],
  };
}

function sortKeys(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

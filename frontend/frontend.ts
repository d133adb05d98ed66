/**
 * The frontend: the text of a Dockerfile in, a build graph and an image config out.
 *
 * Pure: it reads no file and opens no connection. It asks one question of the outside, resolveImage, because ENV,
 * ONBUILD, USER and WORKDIR come from the base's config, and only for stages that the target needs.
 */
import { isTsbuildError, locate, type SourceRef, type TsbuildError } from '../src/base/errors.ts';
import type { BuildGraph, FrontendWarning } from '../src/graph/graph.ts';
import { checkInstruction } from './instructions/check-instruction.ts';
import type { Instruction } from './instructions/instruction.ts';
import { parseInstruction } from './instructions/parse-instruction.ts';
import { checkDescription, checkRaw, checkStages } from './lint/file-rules.ts';
import { createLinter, type Linter } from './lint/linter.ts';
import { localChecks, NO_OPTIONS, parseCheckOptions } from './lint/options.ts';
import { checkDefaults, resolveFroms } from './lower/froms.ts';
import { globalVariables, type GlobalVariables } from './lower/global-args.ts';
import { orderedConfig } from './lower/image-config.ts';
import { createLowering, type Lowering } from './lower/lowering.ts';
import { outlineOf, type Outline } from './lower/outline.ts';
import type { StageState } from './lower/stage.ts';
import { checkStageNumbers, findTarget, splitStages, type Stage } from './lower/stages.ts';
import { parseLines } from './parse/lines.ts';
import type { FrontendRequest } from './request.ts';

/** Throws TsbuildError with a place in the Dockerfile; whatever resolveImage throws comes out with its FROM's place. */
export async function createBuildGraph(request: FrontendRequest): Promise<BuildGraph> {
  const prepared = prepare(request);
  const { lowering, linter, target, globals, syntax } = prepared;
  const state = await lowering.stage(target.index);
  linter.finish();
  const { config } = state;
  const labels = { ...config.Labels, ...request.labels };
  const epoch = await epochOf(globals, request);
  return {
    target: state.vertex,
    platform: request.isPlatformGiven === true ? request.platform : state.platform,
    config: orderedConfig({ ...config, Labels: labels }),
    ...(state.author === undefined ? {} : { author: state.author }),
    baseHistory: state.baseHistory,
    history: state.history,
    ...(epoch === undefined ? {} : { sourceDateEpoch: epoch }),
    warnings: linter.warnings,
    unusedArgs: lowering.unusedArgs(),
    ...(syntax === undefined ? {} : { syntax }),
  };
}

async function epochOf(
  { variables }: GlobalVariables,
  { contextTime }: FrontendRequest,
): Promise<number | undefined> {
  const epoch = variables.get('SOURCE_DATE_EPOCH') ?? '';
  if (epoch === 'context') return contextTime?.();
  return epoch === '' ? undefined : Number(epoch);
}

export interface CheckResult {
  readonly warnings: readonly FrontendWarning[];
  /** What keeps the Dockerfile from being built. */
  readonly error?: TsbuildError;
}

/** Checks the target, or all stages where none is named. Throws what is no TsbuildError. */
export async function checkDockerfile(request: FrontendRequest): Promise<CheckResult> {
  const warnings: FrontendWarning[] = [];
  const onWarning = (warning: FrontendWarning): void => {
    warnings.push(warning);
    request.onWarning?.(warning);
  };
  try {
    const { lowering, linter, stages, target } = prepare({ ...request, onWarning });
    const wanted = request.target === undefined ? stages : [target];
    for (const { index } of wanted) await lowering.stage(index);
    linter.finish();
    return { warnings };
  } catch (error) {
    if (!isTsbuildError(error) || error.code === 'ABORTED') throw error;
    return { warnings, error };
  }
}

/** What the user can give to the target. Throws as createBuildGraph does. */
export async function outlineDockerfile(request: FrontendRequest): Promise<Outline> {
  const { lowering, target, globals } = prepare(request);
  await lowering.stage(target.index);
  const states = new Map<number, StageState>();
  const visit = async (index: number): Promise<void> => {
    if (states.has(index)) return;
    const state = await lowering.stage(index);
    states.set(index, state);
    for (const each of state.outline.stages) await visit(each);
  };
  await visit(target.index);
  return outlineOf(target, states, globals);
}

/** Stages as they stand in the file. Throws DOCKERFILE_SYNTAX, INSTRUCTION_INVALID and relatives. */
export function listStages(source: Pick<FrontendRequest, 'file' | 'text'>): readonly Stage[] {
  const parsed = parseLines(source);
  const { escape } = parsed.directives;
  return splitStages(
    parsed.instructions.map((raw) => parseInstruction(raw, escape)),
    source,
  ).stages;
}

interface Prepared {
  readonly lowering: Lowering;
  readonly linter: Linter;
  readonly stages: readonly Stage[];
  readonly target: Stage;
  readonly globals: GlobalVariables;
  readonly syntax: string | undefined;
}

function prepare(request: FrontendRequest): Prepared {
  const parsed = parseLines({ file: request.file, text: request.text });
  const { escape, check } = parsed.directives;
  const given = request.buildArgs['BUILDKIT_DOCKERFILE_CHECK'] ?? check;
  const at = given === check ? parsed.checkAt : undefined;
  const options = given === undefined ? NO_OPTIONS : located(at, () => parseCheckOptions(given));
  const linter = createLinter(options, request.onWarning, localChecks(parsed.instructions));
  for (const { message, source } of parsed.warnings) linter.report('NoEmptyContinuation', message, source);
  const instructions = parsed.instructions.map((raw): Instruction => {
    checkRaw(raw, linter);
    const instruction = parseInstruction(raw, escape);
    checkInstruction(instruction);
    checkDescription(instruction, linter);
    return instruction;
  });
  const { globals: globalArgs, stages } = splitStages(instructions, {
    file: request.file,
    text: request.text,
  });
  checkStages(stages, linter);
  const targetName = request.target ?? stages.at(-1)?.name;
  const defaults = withoutErrors(() => globalVariables(globalArgs, request, targetName, escape, false));
  if (defaults !== undefined) checkDefaults(stages, defaults.variables, escape, linter);
  const globals = globalVariables(globalArgs, request, targetName, escape);
  const froms = resolveFroms(stages, { request, globals, escape, linter });
  const target = findTarget(stages, request.target);
  checkStageNumbers(stages);
  const lowering = createLowering({ request, stages, froms, globals, escape, linter });
  const syntax = request.buildArgs['BUILDKIT_SYNTAX'] ?? parsed.directives.syntax;
  return { lowering, linter, stages, target, globals, syntax };
}

function located<T>(at: SourceRef | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw locate(error, at);
  }
}

/** An error here comes again, with its place, when the values that count are made. */
function withoutErrors<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isTsbuildError(error)) return undefined;
    throw error;
  }
}

/**
 * Lowering: each stage that is needed becomes a chain of vertices, once.
 *
 * Stages are lowered on demand, so what the target does not reach is never resolved; an ONBUILD trigger may reach
 * further stages. A stage can use earlier stages only, so there are no cycles.
 */
import { isTsbuildError, locate, TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { Platform } from '../../src/oci/documents.ts';
import { checkInstruction } from '../instructions/check-instruction.ts';
import type { Instruction, InstructionOf } from '../instructions/instruction.ts';
import { parseInstruction } from '../instructions/parse-instruction.ts';
import type { Linter } from '../lint/linter.ts';
import { parseTrigger } from '../parse/lines.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { FrontendRequest, NamedContext, ResolvedImage } from '../request.ts';
import { beginFromImage, beginFromNothing, beginFromStage, type StageFrame } from './begin.ts';
import * as config from './config.ts';
import { lowerCopy, lowerWorkdir, type CopyInputs } from './copy.ts';
import { createExpander, undefinedVar, type Expander } from './expander.ts';
import { checkReference, type From } from './froms.ts';
import { imageRef, stageHint, withNearStage } from './near-stage.ts';
import { describedAs, type GlobalVariables } from './global-args.ts';
import { findContext } from './named-contexts.ts';
import { lowerRun, type RunDefaults } from './run.ts';
import { nextName, placeOf, remember, setVariable, type StageState } from './stage.ts';
import { findEarlierStage, type Stage } from './stages.ts';
import { contextVertex, gitVertex, imageVertex, scratchVertex } from './sources.ts';

export interface LoweringOptions {
  readonly request: FrontendRequest;
  readonly stages: readonly Stage[];
  readonly froms: readonly From[];
  readonly globals: GlobalVariables;
  readonly escape: string;
  readonly linter: Linter;
}

export interface Lowering {
  stage(index: number): Promise<StageState>;
  /** Names of --build-arg that no ARG of a lowered stage asked for. */
  unusedArgs(): readonly string[];
}

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap((name) => [
  name,
  name.toLowerCase(),
]);
/** Arguments to the builder: no variables of the build. */
const BUILDER_ARGS = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']);
/** Instructions that make a vertex, for `2/5` in names. */
const STEPS = new Set<Instruction['kind']>(['RUN', 'COPY', 'ADD', 'WORKDIR']);

export function createLowering(options: LoweringOptions): Lowering {
  const { request, stages, froms, globals, escape, linter } = options;
  const lowered = new Map<number, Promise<StageState>>();
  const images = new Map<string, Promise<ResolvedImage>>();
  const consumed = new Set<string>();
  const defaults: RunDefaults = {
    network: request.network,
    proxies: proxiesOf(request.buildArgs),
    allow: new Set(request.allow ?? []),
    cacheNamespace: request.buildArgs['BUILDKIT_CACHE_MOUNT_NS'],
    hostname: request.buildArgs['BUILDKIT_SANDBOX_HOSTNAME'],
  };

  const mainContext = contextVertex('context');

  function stage(index: number): Promise<StageState> {
    const known = lowered.get(index) ?? lowerStage(stageAt(index));
    lowered.set(index, known);
    return known;
  }

  function stageAt(index: number): Stage {
    const found = stages[index];
    if (found === undefined) throw new RangeError(`no stage ${index}`);
    return found;
  }

  function resolve(reference: string, platform: Platform): Promise<ResolvedImage> {
    const key = `${reference} ${JSON.stringify(platform)}`;
    const known = images.get(key) ?? request.resolveImage(reference, platform);
    images.set(key, known);
    return known;
  }

  const isUncached = (name: string | undefined): boolean =>
    typeof request.noCache === 'boolean'
      ? request.noCache
      : name !== undefined && request.noCache.some((each) => each.toLowerCase() === name);

  function frameOf(from: Stage, platform: Platform): StageFrame {
    return {
      index: from.index,
      name: from.name ?? `stage-${from.index}`,
      label: stages.length === 1 ? '' : (from.name ?? `stage-${from.index}`),
      total: 1 + from.instructions.filter((each) => STEPS.has(each.kind)).length,
      platform,
      targetPlatform: request.platform,
      linter,
      noCache: isUncached(from.name),
      raw: from.from.raw,
    };
  }

  async function lowerStage(from: Stage): Promise<StageState> {
    // A stage is lowered when its turn comes, not within its child's call: a chain of stages may be long.
    await Promise.resolve();
    const resolved = froms[from.index];
    if (resolved === undefined) throw new RangeError(`no FROM ${from.index}`);
    const { platform } = resolved;
    const frame = frameOf(from, platform);
    // A context with the name of a stage takes its place.
    const replaced = from.name === undefined ? undefined : findContext(request, from.name, platform);
    if (replaced !== undefined) return beginFromContext(replaced.name, replaced.context, frame, from);
    const state = await begin(from, resolved, frame);
    for (const name of resolved.used) state.outline.used.add(name);
    const triggers = [...(state.config.OnBuild ?? [])];
    delete state.config.OnBuild;
    for (const trigger of triggers) await triggered(state, trigger, from);
    for (const instruction of from.instructions) await lower(state, instruction, from);
    return state;
  }

  /** What a trigger does wrong is shown at the FROM that brought it here. */
  async function triggered(state: StageState, text: string, from: Stage): Promise<void> {
    const { raw: place } = from.from;
    try {
      const raw = parseTrigger(text, `ONBUILD of ${from.from.image}`);
      const { source, range } = place;
      const placed = { ...raw, source, range, segments: [] };
      const instruction = parseInstruction(placed, '\\');
      checkInstruction(instruction);
      await lower(state, instruction, from);
    } catch (error) {
      if (!isTsbuildError(error) || error.code === 'ABORTED') throw error;
      throw new TsbuildError(
        error.code,
        `in the trigger ${JSON.stringify(`ONBUILD ${text}`)} of the base image: ${error.message}`,
        {
          source: refAt(place),
          cause: error,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        },
      );
    }
  }

  async function begin(from: Stage, resolved: From, frame: StageFrame): Promise<StageState> {
    if (resolved.parent !== undefined) {
      const base = await stage(resolved.parent);
      return beginFromStage(base, frame);
    }
    const named = findContext(request, resolved.image, resolved.platform);
    if (named !== undefined) return beginFromContext(named.name, named.context, frame, from);
    if (resolved.image === 'scratch') return beginFromNothing(frame);
    const image = await located(from, stages, () => resolve(resolved.image, resolved.platform));
    return beginFromImage(image, frame);
  }

  async function beginFromContext(
    name: string,
    context: NamedContext,
    frame: StageFrame,
    from: Stage,
  ): Promise<StageState> {
    switch (context.kind) {
      case 'image':
        if (context.reference === 'scratch') return beginFromNothing(frame);
        return beginFromImage(
          await located(from, stages, () => resolve(context.reference, frame.platform)),
          frame,
        );
      case 'stored':
        return beginFromImage(context.image, frame);
      case 'git':
        return { ...beginFromNothing(frame), vertex: gitVertex(context.source, refAt(from.from.raw)) };
      case 'stage':
        return beginFromStage(await stage(findTargetContext(context.name, from).index), frame);
      case 'directory': {
        // What comes from the directory is the first step.
        const state = { ...beginFromNothing(frame), step: 0 };
        const op = {
          kind: 'copy',
          instruction: 'COPY',
          sources: [{ kind: 'paths', input: 1, patterns: ['/'] }],
          destination: '/',
          parents: false,
          excludes: [],
          link: false,
          unpack: 'never',
        } as const;
        state.vertex = createVertex({
          op,
          inputs: [state.vertex, contextVertex(name)],
          name: nextName(state, `FROM ${name}`),
          source: refAt(from.from.raw),
          place: placeOf(state, state.step, `FROM ${name}`),
        });
        return state;
      }
    }
  }

  function findTargetContext(name: string, current: Stage, at = refAt(current.from.raw)): Stage {
    const found = stages.findLast((each) => each.name === name.toLowerCase() && each.index < current.index);
    if (found === undefined)
      throw syntaxError(
        'STAGE_NOT_FOUND',
        `there is no earlier stage ${JSON.stringify(name)} for --build-context`,
        at,
        stageHint(name, stages, current.index),
      );
    return found;
  }

  async function vertexOfContext(
    name: string,
    context: NamedContext,
    state: StageState,
    current: Stage,
    instruction: Instruction,
  ): Promise<Vertex> {
    const at = refAt(instruction.raw);
    switch (context.kind) {
      case 'directory':
        return contextVertex(name);
      case 'git':
        return gitVertex(context.source, at);
      case 'stored':
        return imageVertex(context.image, state.platform, `FROM ${context.image.reference}`, at);
      case 'stage':
        return (await stage(findTargetContext(context.name, current, at).index)).vertex;
      case 'image':
        return imageByName(context.reference, state, instruction, at);
    }
  }

  async function imageByName(
    name: string,
    state: StageState,
    { raw }: Instruction,
    at: SourceRef,
  ): Promise<Vertex> {
    if (name === 'scratch') return scratchVertex(state.platform);
    checkReference(name, at, 'as source of files', []);
    try {
      const resolved = await resolve(name, state.platform);
      return imageVertex(resolved, state.platform, `FROM ${resolved.reference}`, refAt(raw));
    } catch (error) {
      throw locate(withNearStage(error, name, stages, state.index), at);
    }
  }

  function inputsOf(state: StageState, current: Stage, instruction: Instruction): CopyInputs {
    const { context } = request;
    return {
      context: () =>
        context === undefined || context.kind === 'directory'
          ? Promise.resolve(mainContext)
          : vertexOfContext('context', context, state, current, instruction),
      scratch: () => scratchVertex(state.platform),
      async from(name, at) {
        if (name.includes('$'))
          throw syntaxError(
            'INSTRUCTION_INVALID',
            'variables are not expanded in --from',
            at,
            `define a stage with FROM ${name} AS alias and copy from that`,
          );
        const named = findContext(request, name, state.platform);
        if (named !== undefined)
          return vertexOfContext(named.name, named.context, state, current, instruction);
        const found = findEarlierStage(stages, name, current, at);
        if (found === undefined) return imageByName(name, state, instruction, at);
        state.outline.stages.add(found.index);
        return (await stage(found.index)).vertex;
      },
      isIgnored: context === undefined || context.kind === 'directory' ? request.isIgnored : undefined,
    };
  }

  async function lower(state: StageState, instruction: Instruction, current: Stage): Promise<void> {
    const { raw } = instruction;
    const { variables } = state;
    state.used.clear();
    const expand = createExpander({
      raw,
      escape,
      variables,
      onUsed: (name) => state.used.add(name),
      onUndefined: undefinedVar(linter, raw, variables, state.args),
    });
    switch (instruction.kind) {
      case 'FROM':
        throw syntaxError('DOCKERFILE_SYNTAX', 'FROM cannot stand here', refAt(raw));
      case 'ARG':
        return lowerArg(state, instruction, expand);
      case 'ENV':
      case 'LABEL':
        return config.lowerEnv(state, instruction, expand);
      case 'RUN':
        return lowerRun(state, instruction, expand, inputsOf(state, current, instruction), defaults);
      case 'COPY':
      case 'ADD':
        return lowerCopy(state, instruction, expand, inputsOf(state, current, instruction));
      case 'CMD':
      case 'ENTRYPOINT':
        return config.lowerCommand(state, instruction);
      case 'SHELL':
        return config.lowerShell(state, instruction);
      case 'WORKDIR':
        return lowerWorkdir(state, expand.word(instruction.text), { ...instruction, kind: 'WORKDIR' });
      case 'USER':
        return config.lowerUser(state, expand.word(instruction.text), instruction.text);
      case 'STOPSIGNAL':
        return config.lowerStopSignal(state, expand.word(instruction.text), {
          ...instruction,
          kind: 'STOPSIGNAL',
        });
      case 'MAINTAINER':
        state.author = instruction.text;
        return remember(state, `MAINTAINER ${instruction.text}`);
      case 'EXPOSE':
        return config.lowerExpose(state, instruction, expand);
      case 'VOLUME':
        return config.lowerVolume(state, instruction, expand);
      case 'HEALTHCHECK':
        return config.lowerHealthcheck(state, instruction);
      case 'ONBUILD':
        state.config.OnBuild = [...(state.config.OnBuild ?? []), instruction.text];
    }
  }

  function lowerArg(state: StageState, { args, raw }: InstructionOf<'ARG'>, expand: Expander): void {
    const shown: string[] = [];
    // Unlike ENV, an ARG sees those before it in the same instruction, and its name is what is written.
    for (const { name, value: written } of args) {
      const given = Object.hasOwn(request.buildArgs, name) ? request.buildArgs[name] : undefined;
      const value = given ?? (written === undefined ? globals.variables.get(name) : expand.word(written));
      const inherited = given === undefined && written === undefined;
      consumed.add(name);
      config.reportSecret(state, 'ARG', name, refAt(raw));
      if (value !== undefined && !BUILDER_ARGS.has(name))
        setVariable(state, name, value, given === undefined ? written : undefined);
      state.args.set(name, value ?? state.args.get(name));
      shown.push(value === undefined ? name : `${name}=${value}`);
      state.outline.used.add(name);
      if (inherited && globals.variables.has(name)) continue;
      const description = describedAs(raw.comments, name);
      state.outline.args.set(name, {
        name,
        source: refAt(raw),
        uses: new Set(),
        ...(value === undefined ? {} : { value }),
        ...(description === undefined ? {} : { description }),
      });
    }
    remember(state, `ARG ${shown.join(' ')}`);
  }

  return {
    stage,
    unusedArgs() {
      const known = new Set([...consumed, ...globals.declared, ...PROXIES, 'SOURCE_DATE_EPOCH']);
      return Object.keys(request.buildArgs).filter(
        (name) => !known.has(name) && !name.startsWith('BUILDKIT_'),
      );
    },
  };
}

/** Under both names: some programs look for the one in upper case, some for the other. */
function proxiesOf(buildArgs: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(
    PROXIES.flatMap((name) => {
      const written = [name, name.toUpperCase(), name.toLowerCase()].find((each) =>
        Object.hasOwn(buildArgs, each),
      );
      return written === undefined ? [] : [[name, buildArgs[written] ?? '']];
    }),
  );
}

async function located<T>(stage: Stage, stages: readonly Stage[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw locate(withNearStage(error, stage.from.image, stages, stage.index), imageRef(stage.from));
  }
}

/**
 * Lowering: each stage that is needed becomes a chain of vertices, once.
 *
 * Stages are lowered on demand, so what the target does not reach is never resolved; an ONBUILD trigger may reach
 * further stages. A stage can use earlier stages only, so there are no cycles.
 */
import { locate, type TsbuildError } from '../../src/base/errors.ts';
import { createVertex, type FrontendWarning, type Vertex } from '../../src/graph/graph.ts';
import type { Platform } from '../../src/oci/documents.ts';
import type { FrontendRequest, ResolvedImage } from '../request.ts';
import type { Instruction, InstructionOf } from '../instructions/instruction.ts';
import { parseInstruction } from '../instructions/parse-instruction.ts';
import { parseTrigger } from '../parse/lines.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import * as config from './config.ts';
import { lowerCopy, lowerWorkdir, type CopyInputs } from './copy.ts';
import { createExpander, type Expander } from './expander.ts';
import { parsePlatformText } from './platform-text.ts';
import { lowerRun, type RunDefaults } from './run.ts';
import {
  DEFAULT_PATH,
  nextName,
  remember,
  setEnv,
  setVariable,
  warn,
  type MutableConfig,
  type StageState,
} from './stage.ts';
import type { Stage } from './stages.ts';

export interface LoweringOptions {
  readonly request: FrontendRequest;
  readonly stages: readonly Stage[];
  readonly variables: ReadonlyMap<string, string>;
  readonly escape: string;
  readonly warnings: FrontendWarning[];
}

export interface Lowering {
  stage(index: number): Promise<StageState>;
  /** Warnings for --build-arg values that no ARG asked for. */
  unusedArgs(): readonly FrontendWarning[];
}

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap((name) => [
  name,
  name.toLowerCase(),
]);
/** Instructions that make a vertex, for `2/5` in names. */
const STEPS = new Set<Instruction['kind']>(['RUN', 'COPY', 'ADD', 'WORKDIR']);

export function createLowering(options: LoweringOptions): Lowering {
  const { request, stages, variables, escape, warnings } = options;
  const lowered = new Map<number, Promise<StageState>>();
  const images = new Map<string, Promise<ResolvedImage>>();
  const consumed = new Set<string>();
  const defaults: RunDefaults = { network: request.network, proxies: proxiesOf(request.buildArgs) };

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

  function named(name: string): { readonly reference?: string; readonly directory?: true } | undefined {
    const context = Object.hasOwn(request.namedContexts, name) ? request.namedContexts[name] : undefined;
    if (context === undefined) return undefined;
    return context.kind === 'image' ? { reference: context.reference } : { directory: true };
  }

  const contextVertex = (name: string): Vertex =>
    createVertex({
      op: { kind: 'context', name },
      inputs: [],
      name: name === 'context' ? '[internal] load build context' : `[context ${name}] load from client`,
    });

  async function lowerStage(from: Stage): Promise<StageState> {
    const state = await begin(from);
    const triggers = [...(state.config.OnBuild ?? [])];
    delete state.config.OnBuild;
    for (const trigger of triggers) await triggered(state, trigger, from);
    for (const instruction of from.instructions) await lower(state, instruction, from);
    return state;
  }

  async function triggered(state: StageState, text: string, from: Stage): Promise<void> {
    const raw = parseTrigger(text, `ONBUILD of ${from.from.image}`);
    await lower(state, parseInstruction(raw, '\\'), from);
  }

  async function begin(from: Stage): Promise<StageState> {
    const { raw } = from.from;
    const expand = createExpander(raw, escape, variables, warnings);
    const platform = platformOf(from.from, expand);
    const image = expand.word(from.from.image);
    if (image === '')
      throw syntaxError(
        'STAGE_INVALID',
        `the base name ${JSON.stringify(from.from.image)} is blank after expansion`,
        refAt(raw),
        'give the ARG a value before FROM',
      );
    const label = stages.length === 1 ? '' : (from.name ?? `stage-${from.index}`);
    const parent = stages.findLast((each) => each.index < from.index && each.name === image);
    const total = 1 + from.instructions.filter((each) => STEPS.has(each.kind)).length;
    const common = {
      index: from.index,
      name: from.name ?? `stage-${from.index}`,
      label,
      step: 0,
      cmdSet: false,
      warnings,
      noCache: request.noCache,
    };
    if (parent !== undefined) {
      const base = await stage(parent.index);
      return {
        ...common,
        total: total + (base.config.OnBuild?.length ?? 0),
        step: 1,
        platform: base.platform,
        vertex: base.vertex,
        config: { ...base.config },
        author: base.author,
        baseHistory: base.baseHistory,
        history: [...base.history],
        variables: new Map(base.variables),
        args: new Map(base.args),
      };
    }
    const context = named(image);
    if (image === 'scratch' && context === undefined) {
      return {
        ...common,
        total,
        platform,
        vertex: createVertex({
          op: { kind: 'image', platform },
          inputs: [],
          name: `[${label === '' ? '' : `${label} `}1/${total}] FROM scratch`,
          source: refAt(raw),
        }),
        step: 1,
        config: { Env: [`PATH=${DEFAULT_PATH}`], WorkingDir: '/' },
        author: undefined,
        baseHistory: [],
        history: [],
        variables: new Map([['PATH', DEFAULT_PATH]]),
        args: new Map(),
      };
    }
    const resolved = await located(raw, () => resolve(context?.reference ?? image, platform));
    const base: MutableConfig = { ...resolved.config.config };
    if (!(base.Env ?? []).some((entry) => entry.startsWith('PATH=')))
      base.Env = setEnv(base.Env ?? [], 'PATH', DEFAULT_PATH);
    const state: StageState = {
      ...common,
      total: total + (base.OnBuild?.length ?? 0),
      platform: platformOfImage(resolved.config, platform),
      vertex: contextVertex('context'),
      config: base,
      author: resolved.config.author,
      baseHistory: resolved.config.history,
      history: [],
      variables: new Map((base.Env ?? []).map(splitEntry)),
      args: new Map(),
    };
    state.vertex = imageVertex(resolved, platform, nextName(state, `FROM ${resolved.reference}`), raw);
    return state;
  }

  function imageVertex(
    resolved: ResolvedImage,
    platform: Platform,
    name: string,
    raw: Instruction['raw'],
  ): Vertex {
    const image = { reference: resolved.reference, manifest: resolved.manifest };
    return createVertex({ op: { kind: 'image', image, platform }, inputs: [], name, source: refAt(raw) });
  }

  function platformOf(from: InstructionOf<'FROM'>, expand: Expander): Platform {
    if (from.platform === undefined) return request.platform;
    const text = expand.word(from.platform);
    if (text === '')
      throw syntaxError(
        'PLATFORM_INVALID',
        `empty platform value from expression ${JSON.stringify(from.platform)}`,
        refAt(from.raw),
      );
    const platform = parsePlatformText(text);
    if (platform === undefined)
      throw syntaxError(
        'PLATFORM_INVALID',
        `invalid platform ${JSON.stringify(text)}`,
        refAt(from.raw),
        'write os/architecture[/variant], e.g. linux/arm64',
      );
    return platform;
  }

  function inputsOf(state: StageState, current: Stage): CopyInputs {
    return {
      context: () => contextVertex('context'),
      scratch: () =>
        createVertex({ op: { kind: 'image', platform: state.platform }, inputs: [], name: 'FROM scratch' }),
      async from(name, { raw }) {
        if (name.includes('$'))
          throw syntaxError(
            'INSTRUCTION_INVALID',
            'variables are not expanded in --from',
            refAt(raw),
            'define a stage with FROM $NAME AS alias and copy from that',
          );
        const context = named(name);
        if (context?.directory === true) return contextVertex(name);
        const found = context === undefined ? findStage(name, current, raw) : undefined;
        if (found !== undefined) return (await stage(found.index)).vertex;
        if (name === 'scratch')
          return createVertex({
            op: { kind: 'image', platform: state.platform },
            inputs: [],
            name: 'FROM scratch',
          });
        const resolved = await located(raw, () => resolve(context?.reference ?? name, state.platform));
        return imageVertex(resolved, state.platform, `FROM ${resolved.reference}`, raw);
      },
    };
  }

  function findStage(name: string, current: Stage, raw: Instruction['raw']): Stage | undefined {
    const fail = (message: string, hint?: string): TsbuildError =>
      syntaxError('STAGE_INVALID', message, refAt(raw), hint);
    if (/^\d+$/.test(name)) {
      const index = Number(name);
      if (index === current.index) throw fail(`stage ${name} cannot copy from itself`);
      if (index > current.index) throw fail(`invalid stage index ${name}`, 'only earlier stages can be used');
      return stageAt(index);
    }
    const found = stages.findLast((each) => each.name === name.toLowerCase() && each.index < current.index);
    if (found !== undefined) return found;
    if (current.name === name.toLowerCase())
      throw fail(`circular dependency: stage ${JSON.stringify(name)} copies from itself`);
    if (stages.some((each) => each.name === name.toLowerCase()))
      throw fail(
        `cannot copy from stage ${JSON.stringify(name)}: it is defined after this stage`,
        'move it up',
      );
    return undefined;
  }

  async function lower(state: StageState, instruction: Instruction, current: Stage): Promise<void> {
    const { raw } = instruction;
    const expand = createExpander(raw, escape, state.variables, warnings, new Set(state.args.keys()));
    switch (instruction.kind) {
      case 'FROM':
        throw syntaxError('DOCKERFILE_SYNTAX', 'FROM cannot stand here', refAt(raw));
      case 'ARG':
        return lowerArg(state, instruction, expand);
      case 'ENV':
      case 'LABEL':
        return config.lowerEnv(state, instruction, expand);
      case 'RUN':
        return lowerRun(state, instruction, expand, inputsOf(state, current), defaults);
      case 'COPY':
      case 'ADD':
        return lowerCopy(state, instruction, expand, inputsOf(state, current), escape);
      case 'CMD':
      case 'ENTRYPOINT':
        return config.lowerCommand(state, instruction);
      case 'SHELL':
        return config.lowerShell(state, instruction);
      case 'WORKDIR':
        return lowerWorkdir(state, expand.word(instruction.text), { ...instruction, kind: 'WORKDIR' });
      case 'USER':
        return config.lowerUser(state, expand.word(instruction.text));
      case 'STOPSIGNAL':
        return config.lowerStopSignal(state, expand.word(instruction.text), {
          ...instruction,
          kind: 'STOPSIGNAL',
        });
      case 'MAINTAINER':
        state.author = instruction.text;
        warn(
          state,
          'MaintainerDeprecated',
          'MAINTAINER is deprecated: use LABEL org.opencontainers.image.authors',
          refAt(raw),
        );
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

  function lowerArg(state: StageState, { args }: InstructionOf<'ARG'>, expand: Expander): void {
    const shown: string[] = [];
    for (const arg of args) {
      const name = expand.word(arg.name);
      consumed.add(name);
      const given = Object.hasOwn(request.buildArgs, name) ? request.buildArgs[name] : undefined;
      const value = given ?? (arg.value === undefined ? variables.get(name) : expand.word(arg.value));
      if (value !== undefined) setVariable(state, name, value);
      state.args.set(name, value ?? state.args.get(name));
      shown.push(value === undefined ? name : `${name}=${value}`);
    }
    remember(state, `ARG ${shown.join(' ')}`);
  }

  return {
    stage,
    unusedArgs() {
      const known = new Set([...consumed, ...variables.keys(), ...PROXIES]);
      const unused = Object.keys(request.buildArgs).filter(
        (name) => !known.has(name) && !name.startsWith('BUILDKIT_'),
      );
      if (unused.length === 0) return [];
      return [
        {
          rule: 'UnusedBuildArg',
          message: `build arguments were given that no ARG asks for: ${unused.join(', ')}`,
        },
      ];
    },
  };
}

function proxiesOf(buildArgs: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(
    PROXIES.flatMap((name) => (Object.hasOwn(buildArgs, name) ? [[name, buildArgs[name] ?? '']] : [])),
  );
}

function splitEntry(entry: string): [string, string] {
  const equals = entry.indexOf('=');
  return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
}

function platformOfImage(
  image: { os: string; architecture: string; variant?: string },
  wanted: Platform,
): Platform {
  const { os, architecture, variant } = image;
  if (os === '' || architecture === '') return wanted;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

async function located<T>(raw: Instruction['raw'], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw locate(error, refAt(raw));
  }
}

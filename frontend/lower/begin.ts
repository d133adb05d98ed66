/** The state in which a stage begins: from nothing, from an image, from an earlier stage. */
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { Platform } from '../../src/oci/documents.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import type { Linter } from '../lint/linter.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt } from '../parse/source.ts';
import type { ResolvedImage } from '../request.ts';
import { imageVertex } from './sources.ts';
import { DEFAULT_PATH, nextName, setEnv, type MutableConfig, type StageState } from './stage.ts';

export interface StageFrame {
  readonly index: number;
  readonly name: string;
  readonly label: string;
  readonly total: number;
  readonly platform: Platform;
  readonly targetPlatform: Platform;
  readonly linter: Linter;
  readonly noCache: boolean;
  readonly raw: RawInstruction;
}

type Common = Omit<
  StageState,
  | 'vertex'
  | 'config'
  | 'author'
  | 'baseHistory'
  | 'history'
  | 'variables'
  | 'derived'
  | 'inherited'
  | 'settings'
  | 'args'
  | 'workdirSet'
>;

function commonOf({ index, name, label, total, platform, linter, noCache }: StageFrame): Common {
  return {
    index,
    name,
    label,
    total,
    platform,
    linter,
    noCache,
    step: 0,
    cmdSet: false,
    once: new Map(),
    used: new Set(),
    outline: { args: new Map(), used: new Set(), secrets: new Map(), ssh: new Map(), stages: new Set() },
  };
}

/** FROM scratch: of no platform, so --platform makes no difference. */
export function beginFromNothing(frame: StageFrame): StageState {
  const { label, total, targetPlatform: platform, raw } = frame;
  const vertex: Vertex = createVertex({
    op: { kind: 'image', platform },
    inputs: [],
    name: `[${label === '' ? '' : `${label} `}1/${total}] FROM scratch`,
    source: refAt(raw),
  });
  return {
    ...commonOf(frame),
    platform,
    step: 1,
    vertex,
    config: { Env: [`PATH=${DEFAULT_PATH}`], WorkingDir: '/' },
    author: undefined,
    baseHistory: [],
    history: [],
    variables: new Map([['PATH', DEFAULT_PATH]]),
    derived: new Map(),
    inherited: new Set(),
    settings: new Map(),
    args: new Map(),
    workdirSet: false,
  };
}

export function beginFromStage(base: StageState, frame: StageFrame): StageState {
  const common = commonOf(frame);
  common.outline.stages.add(base.index);
  return {
    ...common,
    total: frame.total + (base.config.OnBuild?.length ?? 0),
    step: 1,
    platform: base.platform,
    vertex: base.vertex,
    config: { ...base.config },
    author: base.author,
    baseHistory: base.baseHistory,
    history: [...base.history],
    variables: new Map(base.variables),
    derived: new Map(base.derived),
    inherited: new Set(base.inherited),
    settings: new Map(base.settings),
    args: new Map(base.args),
    workdirSet: base.workdirSet,
  };
}

export function beginFromImage(image: ResolvedImage, frame: StageFrame): StageState {
  const { platform, raw, linter } = frame;
  const config: MutableConfig = { ...image.config.config };
  if (!(config.Env ?? []).some((entry) => entry.startsWith('PATH=')))
    config.Env = setEnv(config.Env ?? [], 'PATH', DEFAULT_PATH);
  const actual = platformOfImage(image.config, platform);
  if (
    image.config.rootfs.diff_ids.length > 0 &&
    (actual.os !== platform.os || actual.architecture !== platform.architecture)
  )
    linter.report(
      'InvalidBaseImagePlatform',
      `the base image ${image.reference} is for ${formatPlatform(actual)}, and ${formatPlatform(platform)} is built`,
      refAt(raw),
    );
  const state: StageState = {
    ...commonOf(frame),
    total: frame.total + (config.OnBuild?.length ?? 0),
    platform: actual,
    // Replaced below, when the step has its number.
    vertex: imageVertex(image, platform, image.reference, refAt(raw)),
    config,
    author: image.config.author,
    baseHistory: image.config.history,
    history: [],
    variables: new Map((config.Env ?? []).map(splitEntry)),
    derived: new Map(),
    inherited: inheritedFrom(config),
    settings: new Map(),
    args: new Map(),
    workdirSet: false,
  };
  state.vertex = imageVertex(image, platform, nextName(state, `FROM ${image.reference}`), refAt(raw));
  return state;
}

function inheritedFrom({ Env = [], User, WorkingDir, Shell }: MutableConfig): Set<string> {
  const settings = { USER: User, WORKDIR: WorkingDir, SHELL: Shell };
  const given = Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  return new Set([...Env.map((entry) => splitEntry(entry)[0]), ...given]);
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

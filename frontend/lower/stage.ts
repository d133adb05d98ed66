/** A stage while it is being lowered: its file system so far, its config, its variables, its history. */
import { digestOf } from '../../src/base/digest.ts';
import type { SourceRef } from '../../src/base/errors.ts';
import { createVertex, type HistoryStep, type StepPlace, type Vertex } from '../../src/graph/graph.ts';
import type { Op } from '../../src/graph/ops.ts';
import type { HistoryEntry, Platform, RunConfig } from '../../src/oci/documents.ts';
import type { Linter } from '../lint/linter.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt } from '../parse/source.ts';
import type { ArgInfo } from './global-args.ts';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const COMMENT = 'buildkit.dockerfile.v0';

/** Config under construction; becomes a RunConfig. */
export type MutableConfig = { -readonly [K in keyof RunConfig]: RunConfig[K] };

/** What the user can give to a stage, for `--call=outline`. */
export interface StageOutline {
  readonly args: Map<string, ArgInfo>;
  /** Variables that count: used by FROM, or declared. */
  readonly used: Set<string>;
  readonly secrets: Map<string, OutlineMount>;
  readonly ssh: Map<string, OutlineMount>;
  /** Stages that it is made from. */
  readonly stages: Set<number>;
}

export interface OutlineMount {
  readonly required: boolean;
  readonly source: SourceRef;
}

export interface StageState {
  readonly index: number;
  /** Name after AS, or `stage-N`. */
  readonly name: string;
  readonly platform: Platform;
  /** For vertex names: the stage is named only where there are several. */
  readonly label: string;
  readonly total: number;
  step: number;
  /** Root file system so far. */
  vertex: Vertex;
  readonly config: MutableConfig;
  author: string | undefined;
  readonly baseHistory: readonly HistoryEntry[];
  readonly history: HistoryStep[];
  /** What expansions and RUN see: ENV and ARG in the order in which they were given. */
  readonly variables: Map<string, string>;
  /** Of these, what was written where other variables stand in it. */
  readonly derived: Map<string, string>;
  /** USER and WORKDIR as written, where variables stand in them. */
  readonly settings: Map<string, string>;
  /** Of variables and settings, what is still the base image's. */
  readonly inherited: Set<string>;
  /** ARGs declared so far, for RUN's history; undefined: no value. */
  readonly args: Map<string, string | undefined>;
  /** CMD was set in this stage: a later ENTRYPOINT keeps it. */
  cmdSet: boolean;
  /** A WORKDIR stands in this Dockerfile, here or in a parent stage. */
  workdirSet: boolean;
  /** Where CMD, ENTRYPOINT and HEALTHCHECK were last given in this stage. */
  readonly once: Map<string, SourceRef>;
  readonly linter: Linter;
  readonly outline: StageOutline;
  readonly noCache: boolean;
  /** Variables that the words of the present instruction use. */
  readonly used: Set<string>;
}

/** Name of the next vertex of a stage. */
export function nextName(stage: StageState, text: string): string {
  stage.step += 1;
  const where = stage.label === '' ? '' : `${stage.label} `;
  return `[${where}${stage.step}/${stage.total}] ${text}`;
}

/** Continues the stage with an operation on its file system. */
export function extend(
  stage: StageState,
  op: Op,
  more: readonly Vertex[],
  raw: RawInstruction,
  text: string,
): Vertex {
  stage.vertex = createVertex({
    op,
    inputs: [stage.vertex, ...more],
    name: nextName(stage, text),
    source: refAt(raw),
    place: placeOf(stage, stage.step, text, raw),
    ...(stage.noCache ? { noCache: true } : {}),
  });
  return stage.vertex;
}

export function placeOf(
  stage: StageState,
  step: number,
  text: string,
  raw?: Pick<RawInstruction, 'keyword' | 'heredocs'>,
): StepPlace {
  const variables: Record<string, string> = {};
  for (const name of stage.used) variables[name] = stage.variables.get(name) ?? '';
  return {
    ...{ stage: stage.name, step, text, variables, args: argNamesOf(stage) },
    ...(stage.derived.size === 0 ? {} : { derived: derivedOf(stage) }),
    ...(stage.settings.size === 0 ? {} : { settings: Object.fromEntries(stage.settings) }),
    ...(stage.inherited.size === 0 ? {} : { inherited: [...stage.inherited] }),
    ...heredocsOf(raw),
  };
}

/** Those of RUN are for its shell. */
function heredocsOf(raw?: Pick<RawInstruction, 'keyword' | 'heredocs'>): Pick<StepPlace, 'heredocs'> {
  if (raw === undefined || raw.keyword === 'RUN' || raw.heredocs.length === 0) return {};
  return { heredocs: digestOf(raw.heredocs.map(({ content }) => content).join('\0')) };
}

/** Remembers how USER or WORKDIR was written. */
export function noteSetting(stage: StageState, name: 'USER' | 'WORKDIR', written: string): void {
  stage.settings.delete(name);
  stage.inherited.delete(name);
  if (written.includes('$')) stage.settings.set(name, written);
}

export function remember(stage: StageState, createdBy: string, vertex?: Vertex): void {
  stage.history.push({ createdBy, comment: COMMENT, ...(vertex === undefined ? {} : { vertex }) });
}

/** Only the last of these instructions counts: an earlier one in the same stage is a mistake. */
export function usedOnce(stage: StageState, kind: string, source: SourceRef): void {
  const before = stage.once.get(kind);
  if (before !== undefined)
    stage.linter.report(
      'MultipleInstructionsDisallowed',
      `a later ${kind} in this stage takes the place of this one`,
      before,
    );
  stage.once.set(kind, source);
}

/** The instruction's text on one line, as vertex names show it. */
export function shownText(raw: RawInstruction): string {
  return raw.text.replace(/\s+/g, ' ').trim();
}

const environments = new WeakMap<StageState, readonly string[]>();

/** The variables as `NAME=value`; many RUNs in a row see the same. */
export function environmentOf(stage: StageState): readonly string[] {
  const known = environments.get(stage);
  if (known !== undefined) return known;
  const made: string[] = [];
  for (const [name, value] of stage.variables) made.push(`${name}=${value}`);
  environments.set(stage, made);
  return made;
}

const argNames = new WeakMap<StageState, readonly string[]>();

/** Variables that are ARGs and no ENV. */
function argNamesOf(stage: StageState): readonly string[] {
  const known = argNames.get(stage);
  if (known !== undefined) return known;
  const env = new Set((stage.config.Env ?? []).map((entry) => entry.slice(0, entry.indexOf('='))));
  const made = [...stage.args.keys()].filter((name) => stage.variables.has(name) && !env.has(name));
  argNames.set(stage, made);
  return made;
}

const derivations = new WeakMap<StageState, Readonly<Record<string, string>>>();

function derivedOf(stage: StageState): Readonly<Record<string, string>> {
  const known = derivations.get(stage);
  if (known !== undefined) return known;
  const made = Object.fromEntries(stage.derived);
  derivations.set(stage, made);
  return made;
}

/** Sets a variable, the newest last. `written`: what it was made of. */
export function setVariable(stage: StageState, name: string, value: string, written = value): void {
  environments.delete(stage);
  argNames.delete(stage);
  derivations.delete(stage);
  stage.derived.delete(name);
  stage.inherited.delete(name);
  if (written !== value && written.includes('$')) stage.derived.set(name, written);
  stage.variables.delete(name);
  stage.variables.set(name, value);
}

/** `NAME=value` of an image's Env, in place where the name is there already. */
export function setEnv(env: readonly string[], name: string, value: string): readonly string[] {
  const prefix = `${name}=`;
  const entry = prefix + value;
  const at = env.findIndex((each) => each.startsWith(prefix));
  return at < 0 ? [...env, entry] : env.with(at, entry);
}

/** Lexically clean absolute path; a trailing `/` is kept where asked. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

export function workdirOf(stage: StageState): string {
  const { WorkingDir } = stage.config;
  return WorkingDir === undefined || WorkingDir === '' ? '/' : WorkingDir;
}

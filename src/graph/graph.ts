/**
 * The build graph: vertices with operations, and what becomes of the target's image besides its layers.
 *
 * A vertex's id is the digest of its operation and its inputs' ids: equal vertices are one vertex, so two
 * stages with the same beginning share it. Names and source ranges do not count.
 */
import { digestOf, type Digest } from '../base/digest.ts';
import type { SourceRef } from '../base/errors.ts';
import { canonicalJson, type Json } from '../base/json.ts';
import type { HistoryEntry, Platform, RunConfig } from '../oci/documents.ts';
import type { Op } from './ops.ts';

export interface Vertex {
  readonly id: Digest;
  readonly op: Op;
  readonly inputs: readonly Vertex[];
  /** For people: `[build 2/5] RUN npm ci`. */
  readonly name: string;
  readonly source?: SourceRef;
  /** `--no-cache`: do not look for a record (one is written all the same). */
  readonly noCache?: boolean;
  /** Absent for what stands in no Dockerfile. */
  readonly place?: StepPlace;
}

/** Whether the frontend put it between a step and the files that it mounts: it holds what is mounted and nothing else. */
export function isInternal({ name }: Vertex): boolean {
  return name.startsWith('[internal] ');
}

/** Where a vertex stands in its Dockerfile. For people: no part of its identity. */
export interface StepPlace {
  readonly stage: string;
  /** As in `[stage 2/5]`. */
  readonly step: number;
  /** The instruction on one line, as written. */
  readonly text: string;
  /** The variables that its own words use, with their values. */
  readonly variables: Readonly<Record<string, string>>;
  /** Which variables of its environment are ARGs. */
  readonly args: readonly string[];
  /** Variables of its environment that others are written in, as written; absent: there are none. */
  readonly derived?: Readonly<Record<string, string>>;
  /** USER and WORKDIR as written, where variables stand in them; absent: they stand in neither. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Variables of its environment, and USER, WORKDIR and SHELL, that are still the base image's; absent: none are. */
  readonly inherited?: readonly string[];
  /** Digest of its heredocs as written, for instructions that expand variables in them; absent: it has none. */
  readonly heredocs?: string;
}

/** One entry of the image's history; `vertex` is the one that made the layer, absent for metadata. */
export interface HistoryStep {
  readonly createdBy: string;
  readonly comment: string;
  readonly vertex?: Vertex;
}

/** What the frontend makes of a Dockerfile for one target and platform. */
export interface BuildGraph {
  /** Its layers are the image's layers. */
  readonly target: Vertex;
  readonly platform: Platform;
  readonly config: RunConfig;
  readonly author?: string;
  /** History of the base image, unchanged. */
  readonly baseHistory: readonly HistoryEntry[];
  /** In Dockerfile order, the parent stages' first. */
  readonly history: readonly HistoryStep[];
  /** Seconds since the epoch, where SOURCE_DATE_EPOCH was given. */
  readonly sourceDateEpoch?: number;
  readonly warnings: readonly FrontendWarning[];
  /** Names of build arguments that were given and that no ARG asks for. */
  readonly unusedArgs: readonly string[];
  /** The frontend that the Dockerfile asks for (`# syntax=`), which is noted and not run. */
  readonly syntax?: string;
}

export interface FrontendWarning {
  /** Rule name as BuildKit's, e.g. `NoEmptyContinuation`. */
  readonly rule: string;
  readonly message: string;
  readonly source: SourceRef;
}

export function createVertex(parts: Omit<Vertex, 'id'>): Vertex {
  const identity: Json = { op: parts.op as unknown as Json, inputs: parts.inputs.map((input) => input.id) };
  return { ...parts, id: digestOf(canonicalJson(identity)) };
}

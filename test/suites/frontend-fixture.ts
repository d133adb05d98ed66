/** What tests of the frontend share: a request that asks for nothing special, and what is read out of a graph. */
import assert from 'node:assert/strict';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import type { BuildGraph, FrontendWarning } from '../../src/graph/graph.ts';
import type { CopyOp, RunOp } from '../../src/graph/ops.ts';
import type { ImageConfig, Platform, RunConfig } from '../../src/oci/documents.ts';
import { inOrder } from '../../src/solver/solve.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import type { FrontendRequest } from '../../frontend/request.ts';

export const AMD64: Platform = { os: 'linux', architecture: 'amd64' };
export const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export type Images = Readonly<Record<string, RunConfig>>;
export type Changes = Partial<FrontendRequest>;

export function imageConfig(config: RunConfig, platform: Platform = AMD64): ImageConfig {
  return {
    ...platform,
    config,
    rootfs: { type: 'layers', diff_ids: [digestOf('layer') as DiffID] },
    history: [{ created_by: 'base' }],
  };
}

/** `asked` gets the references that are resolved. Images that are not named have a PATH and nothing else. */
export function requestOf(
  text: string,
  changes: Changes = {},
  images: Images = {},
  asked: string[] = [],
): FrontendRequest {
  return {
    file: 'Dockerfile',
    text,
    platform: AMD64,
    buildPlatform: AMD64,
    buildArgs: {},
    labels: {},
    noCache: false,
    network: 'default',
    namedContexts: {},
    resolveImage(reference) {
      asked.push(reference);
      const config = imageConfig(images[reference] ?? { Env: [PATH] });
      return Promise.resolve({ reference, manifest: digestOf(reference), config });
    },
    ...changes,
  };
}

export interface Built extends BuildGraph {
  readonly asked: readonly string[];
}

export async function build(text: string, changes: Changes = {}, images: Images = {}): Promise<Built> {
  const asked: string[] = [];
  const made = await createBuildGraph(requestOf(text, changes, images, asked));
  return { ...made, asked };
}

export function runs(made: BuildGraph): readonly RunOp[] {
  return inOrder(made.target).flatMap(({ op }) => (op.kind === 'run' ? [op] : []));
}

export function copies(made: BuildGraph): readonly CopyOp[] {
  return inOrder(made.target).flatMap(({ op }) => (op.kind === 'copy' ? [op] : []));
}

export function createdBy(made: BuildGraph): readonly string[] {
  return made.history.map((step) => step.createdBy);
}

/** The value of a variable in the environment of the last RUN; undefined: it is not set. */
export function variable(made: BuildGraph, name: string): string | undefined {
  const entry = runs(made)
    .at(-1)
    ?.env.find((each) => each.startsWith(`${name}=`));
  return entry?.slice(name.length + 1);
}

/** What is executed by the first RUN of a stage that has one more line than FROM. */
export async function command(line: string, changes: Changes = {}): Promise<readonly string[]> {
  return runs(await build(`FROM a\n${line}\n`, changes))[0]?.args ?? [];
}

/** `Rule@line`, in the order in which they are found. */
export function found(warnings: readonly FrontendWarning[]): readonly string[] {
  return warnings.map(({ rule, source }) => `${rule}@${source.range.startLine}`);
}

/** The error's code, its message and hint, and the line that it points at. */
export async function refused(
  text: string,
  code: ErrorCode,
  message: RegExp,
  line: number | undefined,
  changes: Changes = {},
  images: Images = {},
): Promise<void> {
  await assert.rejects(build(text, changes, images), (error) => {
    assert.ok(isTsbuildError(error, code), `${JSON.stringify(text)}: ${String(error)}`);
    assert.match(`${error.message} ${error.hint ?? ''}`, message);
    assert.equal(error.source?.range.startLine, line);
    return true;
  });
}

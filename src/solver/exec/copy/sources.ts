/** The trees that a COPY reads from and writes over: build contexts, stages, images. */
import { TsbuildError } from '../../../base/errors.ts';
import { createIgnoreMatcher, type IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import { emptyTree, openTree } from '../../../layer/open-tree.ts';
import type { Tree } from '../../../layer/tree.ts';
import type { VertexContext } from '../../handler.ts';
import type { Result, StackResult } from '../../result.ts';
import type { ContentSource } from './contents.ts';
import { gather } from './gather.ts';
import type { Gathered } from './gathered.ts';
import type { CopyHandlerOptions } from './options.ts';
import type { SourceTree } from './place.ts';
import { selectSources } from './select.ts';

export function stackOf(result: Result | undefined): StackResult {
  if (result?.kind !== 'stack')
    throw new TsbuildError('SPEC_INVALID', 'cannot copy into something that is no root file system');
  return result;
}

export interface OpenedTree extends AsyncDisposable {
  readonly tree: Tree;
}

export async function openStack(options: CopyHandlerOptions, stack: StackResult): Promise<OpenedTree> {
  const name = await options.stacks.snapshotOf(stack);
  if (name === undefined) return { tree: emptyTree(), [Symbol.asyncDispose]: () => Promise.resolve() };
  const view = await (await options.snapshotter()).view(name);
  const tree = openTree(view.mounts);
  return {
    tree,
    async [Symbol.asyncDispose]() {
      tree[Symbol.dispose]();
      await view[Symbol.asyncDispose]();
    },
  };
}

export interface OpenedSource extends AsyncDisposable, SourceTree, ContentSource {
  readonly where: string;
  readonly ignore?: IgnoreMatcher;
  /** Of a context. */
  readonly identity?: string;
}

export async function openSource(
  options: CopyHandlerOptions,
  context: Pick<VertexContext, 'inputs' | 'vertex'>,
  index: number,
): Promise<OpenedSource> {
  const input = context.inputs[index];
  if (input?.kind === 'context') {
    const { tree, ignore, statCache, where, identity } = options.context(input.name);
    return {
      tree,
      isContext: true,
      statCache,
      where,
      identity,
      ...(ignore === undefined ? {} : { ignore }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  const opened = await openStack(options, stackOf(input));
  const name = context.vertex.inputs[index]?.name ?? 'the stage';
  return {
    tree: opened.tree,
    isContext: false,
    where: `the files of ${JSON.stringify(name)}`,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

export interface Selecting {
  readonly parents: boolean;
  readonly excludes: readonly string[];
}

/** Everything that `patterns` name in a source. */
export async function gatherFrom(
  source: OpenedSource,
  patterns: readonly string[],
  { parents, excludes }: Selecting,
  signal: AbortSignal,
): Promise<readonly Gathered[]> {
  const { tree, where, isContext } = source;
  const ignore = source.ignore === undefined ? {} : { ignore: source.ignore };
  const selection = selectSources(tree, patterns, { parents, where, ...ignore });
  const exclude = excludes.length === 0 ? {} : { exclude: createIgnoreMatcher(excludes) };
  return gather(tree, selection, { isContext, signal, ...ignore, ...exclude });
}

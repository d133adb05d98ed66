/**
 * CopyOp: files into a root file system, as a layer written straight from their sources; no file is created
 * anywhere. Also WORKDIR, which makes directories.
 */
import { TsbuildError } from '../../base/errors.ts';
import type { Json } from '../../base/json.ts';
import type { CopyOp } from '../../graph/ops.ts';
import type { CacheMap, OpHandler, VertexContext } from '../handler.ts';
import { identityOf } from '../result.ts';
import { asJson } from '../solve.ts';
import { beginCopy } from './copy/copying.ts';
import { readContents } from './copy/contents.ts';
import { digestSelection } from './copy/digest.ts';
import type { CopyHandlerOptions } from './copy/options.ts';
import { gatherFrom, openSource, stackOf } from './copy/sources.ts';

export function createCopyHandler(options: CopyHandlerOptions): OpHandler<CopyOp> {
  async function cacheMap(
    context: VertexContext<CopyOp>,
  ): Promise<Required<Pick<CacheMap, 'exec' | 'release'>> & CacheMap> {
    const { op } = context;
    const copying = await beginCopy(options, context);
    const { destination, owner, chmod, parents, link, unpack, workdirUser, instruction, excludes } = op;
    return {
      named: {
        kind: 'copy',
        instruction,
        parent: identityOf(stackOf(context.inputs[0])),
        sources: [...copying.sources],
        ...asJsonObject({ destination, owner, chmod, parents, link, unpack, workdirUser, excludes }),
        ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }),
      },
      listings: copying.listings,
      remember: () => copying.remember(),
      ...ignoreFileOf(options, context),
      exec: () => copying.finish(),
      release: () => copying.release(),
    };
  }

  return {
    cacheMap,
    async exec(context) {
      const { exec, release } = await cacheMap(context);
      try {
        return await exec();
      } finally {
        await release();
      }
    },
  };
}

function asJsonObject(value: object): Record<string, Json> {
  return asJson(value) as Record<string, Json>;
}

/** Where files of a context are copied that an ignore file filters. */
function ignoreFileOf(
  options: CopyHandlerOptions,
  { op, inputs }: VertexContext<CopyOp>,
): Pick<CacheMap, 'ignoreFile'> {
  for (const source of op.sources) {
    const input = source.kind === 'paths' ? inputs[source.input] : undefined;
    const ignoreFile = input?.kind === 'context' ? options.context(input.name).ignoreFile : undefined;
    if (ignoreFile !== undefined) return { ignoreFile };
  }
  return {};
}

/** Content of one path in any input, for mounts; `excludes` and owners do not matter there. */
export async function digestOfPath(
  options: CopyHandlerOptions,
  context: VertexContext,
  index: number,
  path: string,
): Promise<string> {
  const input = context.inputs[index];
  if (input === undefined || input.kind === 'file')
    throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'cannot mount a fetched file');
  if (input.kind === 'stack') return `${identityOf(input)} ${path}`;
  await using source = await openSource(options, context, index);
  const gathered = await gatherFrom(source, [path], { parents: false, excludes: [] }, context.signal);
  await readContents(source, gathered, context.signal);
  return digestSelection(source.tree, gathered, {}, source).digest;
}

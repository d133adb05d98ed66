/**
 * CopyOp: files into a root file system, as a layer written straight from their sources; no file is created
 * anywhere. Also WORKDIR, which makes directories.
 */
import type { Json } from '../../base/json.ts';
import type { CopyOp } from '../../graph/ops.ts';
import type { CacheMap, OpHandler, VertexContext } from '../handler.ts';
import { identityOf } from '../result.ts';
import { asJson } from '../solve.ts';
import { beginCopy } from './copy/copying.ts';
import type { CopyHandlerOptions } from './copy/options.ts';
import { stackOf } from './copy/sources.ts';

export function createCopyHandler(options: CopyHandlerOptions): OpHandler<CopyOp> {
  async function cacheMap(
    context: VertexContext<CopyOp>,
  ): Promise<Required<Pick<CacheMap, 'exec' | 'release'>> & CacheMap> {
    const { op } = context;
    const copying = await beginCopy(options, context);
    const { destination, owner, parents, link, unpack, workdirUser, instruction, excludes } = op;
    // 0644 is 644.
    const chmod = op.chmod?.replace(/^0+(?=[0-7]+$)/, '');
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

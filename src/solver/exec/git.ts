/** GitOp: the files of a commit as one layer, with the time of the commit, so that it is always the same layer. */
import { join } from 'node:path';
import type { Json } from '../../base/json.ts';
import type { GitOp } from '../../graph/ops.ts';
import type { LayerStore } from '../../layer/layer.ts';
import { emptyTree, openDirectoryTree } from '../../layer/open-tree.ts';
import { packDifference } from '../../layer/pack.ts';
import { TsbuildError } from '../../base/errors.ts';
import { toByteString, toText } from '../../base/byte-string.ts';
import type { OpHandler } from '../handler.ts';
import { emptyStack, pushLayer } from '../result.ts';

/** A checked out commit; disposing of it removes the directory. */
export interface GitCheckout extends Disposable {
  readonly directory: string;
  /** Of the commit, seconds since the epoch. */
  readonly time: number;
}

export interface GitSources {
  /** The commit that the operation means; one answer per build. */
  resolve(op: GitOp, signal: AbortSignal): Promise<string>;
  checkout(op: GitOp, commit: string, signal: AbortSignal): Promise<GitCheckout>;
}

export interface GitHandlerOptions {
  readonly sources: () => Promise<GitSources>;
  readonly layers: LayerStore;
  readonly now: () => number;
}

export function createGitHandler(options: GitHandlerOptions): OpHandler<GitOp> {
  return {
    async cacheMap({ op, signal }) {
      const commit = await (await options.sources()).resolve(op, signal);
      const { subdir = null, keepGitDir, submodules, url } = op;
      const named: Record<string, Json> = { kind: 'git', commit, subdir, keepGitDir, submodules };
      // The address is written into the repository that is kept.
      return { named: keepGitDir ? { ...named, url } : named };
    },

    async exec({ op, signal }) {
      const sources = await options.sources();
      const commit = await sources.resolve(op, signal);
      using checkout = await sources.checkout(op, commit, signal);
      using whole = openDirectoryTree(checkout.directory);
      const subdir = toByteString(op.subdir ?? '');
      if (whole.stat(subdir)?.type !== 'directory')
        throw new TsbuildError(
          'CONTEXT_NOT_FOUND',
          `the commit ${commit} has no directory ${JSON.stringify(op.subdir)}`,
        );
      // Links inside the repository may lead nowhere else: the path is resolved beneath the checkout.
      using tree = openDirectoryTree(join(checkout.directory, toText(whole.resolve(subdir))));
      using writer = options.layers.create();
      await packDifference(emptyTree(), tree, writer, {
        signal,
        now: options.now,
        maxMtime: checkout.time,
      });
      const layer = writer.commit();
      return pushLayer(emptyStack, { diffID: layer.diffID, created: checkout.time * 1000 });
    },
  };
}

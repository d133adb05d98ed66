/** Build contexts of one build: directories that are opened when a COPY reads them, with their ignore patterns. */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { compileIgnoreFile } from '../layer/ignore-patterns.ts';
import { openDirectoryTree } from '../layer/open-tree.ts';
import type { OpenContext } from '../solver/exec/copy/options.ts';
import { openStatCache } from '../solver/exec/context/stat-cache.ts';

export interface ContextSource {
  readonly directory: string;
  readonly ignoreText?: string;
  /** Its name as shown to the user, where it is not `.dockerignore`. */
  readonly ignoreFile?: string;
  /** As in messages. */
  readonly where: string;
}

export interface Contexts extends Disposable {
  open(name: string): OpenContext;
  directory(name: string): string;
  /** Keeps what was learnt about files. */
  save(): void;
}

export function createContexts(
  sources: ReadonlyMap<string, ContextSource>,
  root: string,
  host: Host,
): Contexts {
  const opened = new Map<string, OpenContext>();

  function sourceOf(name: string): ContextSource {
    const source = sources.get(name);
    if (source === undefined)
      throw new TsbuildError('CONTEXT_NOT_FOUND', `there is no build context ${JSON.stringify(name)}`, {
        hint: `give it with --build-context ${name}=DIRECTORY`,
      });
    return source;
  }

  return {
    open(name) {
      const known = opened.get(name);
      if (known !== undefined) return known;
      const { directory, ignoreText, ignoreFile = '.dockerignore', where } = sourceOf(name);
      const real = realpathSync(directory);
      const ignore = ignoreText === undefined ? undefined : compileIgnoreFile(ignoreText, ignoreFile);
      const context: OpenContext = {
        tree: openDirectoryTree(real),
        ignore: ignore?.isEmpty === true ? undefined : ignore,
        ignoreFile: { file: ignoreFile, text: ignoreText ?? '' },
        statCache: openStatCache(join(root, 'stat-cache'), real, host),
        where,
        identity: real,
      };
      opened.set(name, context);
      return context;
    },
    directory: (name) => realpathSync(sourceOf(name).directory),
    save() {
      for (const { statCache } of opened.values()) statCache.save();
    },
    [Symbol.dispose]() {
      for (const { tree } of opened.values()) tree[Symbol.dispose]();
      opened.clear();
    },
  };
}

/** Expansion as one instruction sees it: the variables before it, its place for errors. */
import { locate } from '../../src/base/errors.ts';
import { expandWord, expandWords, type ExpandOptions } from '../expand/expand.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt } from '../parse/source.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { Linter } from '../lint/linter.ts';

export interface Expander {
  word(text: string): string;
  words(text: string): readonly string[];
  /** Body of a heredoc: quotes are content, the escape is always `\`. */
  body(text: string): string;
}

export interface ExpanderOptions {
  readonly raw: RawInstruction;
  readonly escape: string;
  readonly variables: ReadonlyMap<string, string>;
  /** Told of variables that are used and neither set nor declared; absent: nobody wants to know. */
  readonly onUndefined?: (name: string) => void;
  readonly onUsed?: (name: string) => void;
}

export function createExpander(options: ExpanderOptions): Expander {
  const { raw, escape, variables, onUndefined, onUsed } = options;
  const lookup = (name: string): string | undefined => variables.get(name);
  /** One expansion; each name is reported once in it. */
  const expand = <T>(work: (hooks: Pick<ExpandOptions, 'lookup' | 'onUnset' | 'onSet'>) => T): T => {
    const unset = new Set<string>();
    const set = new Set<string>();
    try {
      return work({ lookup, onUnset: (name) => unset.add(name), onSet: (name) => set.add(name) });
    } catch (error) {
      throw locate(error, refAt(raw));
    } finally {
      for (const name of unset) onUndefined?.(name);
      for (const name of set) onUsed?.(name);
    }
  };
  return {
    word: (text) => expand((hooks) => expandWord(text, { escape, ...hooks })),
    words: (text) => expand(({ lookup: find }) => expandWords(text, { escape, lookup: find })),
    body: (text) => expand((hooks) => expandWord(text, { escape: '\\', keepQuotes: true, ...hooks })),
  };
}

/** Reports variables that nothing in scope defines. `declared` are ARGs without a value. */
export function undefinedVar(
  linter: Linter,
  raw: RawInstruction,
  variables: ReadonlyMap<string, string>,
  declared: ReadonlySet<string>,
): (name: string) => void {
  return (name) => {
    if (declared.has(name)) return;
    const near = suggest(name, variables.keys());
    linter.report(
      'UndefinedVar',
      `the variable '$${name}' is not defined${near === undefined ? '' : ` (did you mean $${near}?)`}`,
      refAt(raw),
    );
  };
}

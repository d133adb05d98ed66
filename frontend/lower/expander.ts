/** Expansion as one instruction sees it: the variables before it, its place for errors. */
import { locate } from '../../src/base/errors.ts';
import { expandWord, expandWords } from '../expand/expand.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt } from '../parse/source.ts';
import type { FrontendWarning } from '../../src/graph/graph.ts';

export interface Expander {
  word(text: string): string;
  words(text: string): readonly string[];
  /** Body of a heredoc: quotes are content, the escape is always `\`. */
  body(text: string): string;
}

export function createExpander(
  raw: RawInstruction,
  escape: string,
  variables: ReadonlyMap<string, string>,
  warnings: FrontendWarning[],
  known: ReadonlySet<string> = new Set(),
): Expander {
  const warned = new Set<string>();
  const onUnset = (name: string): void => {
    if (warned.has(name) || known.has(name) || !/^[A-Za-z_]/.test(name)) return;
    warned.add(name);
    warnings.push({
      rule: 'UndefinedVar',
      message: `usage of undefined variable '$${name}'`,
      source: refAt(raw),
    });
  };
  const lookup = (name: string): string | undefined => variables.get(name);
  const located = <T>(expand: () => T): T => {
    try {
      return expand();
    } catch (error) {
      throw locate(error, refAt(raw));
    }
  };
  return {
    word: (text) => located(() => expandWord(text, { escape, lookup, onUnset })),
    words: (text) => located(() => expandWords(text, { escape, lookup, onUnset })),
    body: (text) => located(() => expandWord(text, { escape: '\\', lookup, onUnset, keepQuotes: true })),
  };
}

/** Expansion as one instruction sees it: the variables before it, its place for errors. */
import { locate, narrow, type SourceRef } from '../../src/base/errors.ts';
import { expandWord, expandWords, type ExpandOptions } from '../expand/expand.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { lineRef } from '../parse/source.ts';
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
  const expand = <T>(
    text: string,
    work: (hooks: Pick<ExpandOptions, 'lookup' | 'onUnset' | 'onSet'>) => T,
  ): T => {
    const unset = new Set<string>();
    const set = new Set<string>();
    try {
      return work({ lookup, onUnset: (name) => unset.add(name), onSet: (name) => set.add(name) });
    } catch (error) {
      throw locate(error, narrow(refAt(raw), text));
    } finally {
      for (const name of unset) onUndefined?.(name);
      for (const name of set) onUsed?.(name);
    }
  };
  return {
    word: (text) => expand(text, (hooks) => expandWord(text, { escape, ...hooks })),
    words: (text) => expand(text, ({ lookup: find }) => expandWords(text, { escape, lookup: find })),
    body(text) {
      try {
        return expand(text, (hooks) => expandWord(text, { escape: '\\', keepQuotes: true, ...hooks }));
      } catch (error) {
        throw lineError(text, raw, lookup) ?? error;
      }
    },
  };
}

/** The error of the first line of a heredoc that fails by itself, at that line. */
function lineError(text: string, raw: RawInstruction, lookup: (name: string) => string | undefined): unknown {
  for (const line of text.split('\n'))
    try {
      expandWord(line, { escape: '\\', keepQuotes: true, lookup });
    } catch (error) {
      return locate(error, bodyRef(raw, line));
    }
  return undefined;
}

/** Where a line of a heredoc stands; it may have lost its tabs. */
function bodyRef(raw: RawInstruction, line: string): SourceRef {
  const { source, range, lastLine } = raw;
  const lines = source.text.split('\n').map((each) => each.replace(/\r$/, ''));
  for (let number = range.endLine + 1; number <= lastLine; number += 1) {
    const written = lines[number - 1] ?? '';
    const bare = line.trim();
    if (written.trim() !== bare) continue;
    const startColumn = written.indexOf(bare) + 1;
    const whole = lineRef(source, number, written);
    const endColumn = Math.max(startColumn + 1, startColumn + bare.length);
    return { ...whole, range: { ...whole.range, startColumn, endColumn } };
  }
  return refAt(raw);
}

/** Reports variables that nothing in scope defines. `declared` are ARGs without a value. */
export function undefinedVar(
  linter: Linter,
  raw: RawInstruction,
  variables: ReadonlyMap<string, string>,
  declared: ReadonlyMap<string, unknown>,
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

/**
 * Tokens of a template into nodes.
 *
 * Source: Go's text/template, "Actions", "Pipelines", "Variables" (parse.go of Go 1.22).
 */
import { MAX_DEPTH, templateError } from './limits.ts';
import { tokenize, type Token } from './tokens.ts';
import type { Value } from './values.ts';

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | {
      readonly kind: 'if';
      readonly pipe: Pipe;
      readonly then: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: 'with';
      readonly pipe: Pipe;
      readonly then: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: 'range';
      readonly pipe: Pipe;
      readonly then: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | { readonly kind: 'break' | 'continue' };

/** `$a, $b := first | second`. */
export interface Pipe {
  readonly variables: readonly string[];
  /** `=` instead of `:=`. */
  readonly assigns: boolean;
  readonly commands: readonly Command[];
}

/** A function or method with arguments, or one value alone. */
export interface Command {
  readonly operands: readonly Operand[];
}

export type Operand =
  | { readonly kind: 'literal'; readonly value: Value }
  | { readonly kind: 'function'; readonly name: string }
  /** Fields one after the other, of the dot, a variable, or a pipeline in parentheses. */
  | { readonly kind: 'chain'; readonly base: Base; readonly fields: readonly string[] };

export type Base =
  | { readonly kind: 'dot' }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'pipe'; readonly pipe: Pipe };

const KEYWORDS = new Set(['if', 'else', 'end', 'range', 'with', 'break', 'continue']);
const UNSUPPORTED = new Set(['define', 'template', 'block', 'call']);

/** Throws USAGE with docker's words. */
export function parseTemplate(text: string, isFunction: (name: string) => boolean): readonly Node[] {
  const tokens = tokenize(text);
  let at = 0;
  let depth = 0;
  let loops = 0;

  const peek = (): Token | undefined => tokens[at];
  const isWord = (name: string): boolean => {
    const token = peek();
    return token?.kind === 'word' && token.name === name;
  };
  const isSymbol = (symbol: string): boolean => {
    const token = peek();
    return token?.kind === 'symbol' && token.symbol === symbol;
  };

  function nested<T>(parse: () => T): T {
    depth += 1;
    if (depth > MAX_DEPTH) throw templateError(`more than ${MAX_DEPTH} levels`);
    const result = parse();
    depth -= 1;
    return result;
  }

  /** Nodes up to `{{end}}` or `{{else`, whose word is what comes next; at the top up to the end of the text. */
  function parseList(isTop: boolean): readonly Node[] {
    const nodes: Node[] = [];
    for (let token = peek(); token !== undefined; token = peek()) {
      at += 1;
      if (token.kind === 'text') {
        nodes.push(token);
        continue;
      }
      if (isWord('end') || isWord('else')) {
        if (isTop) throw templateError(`unexpected {{${isWord('end') ? 'end' : 'else'}}}`);
        return nodes;
      }
      nodes.push(parseAction());
    }
    if (!isTop) throw templateError('unexpected EOF');
    return nodes;
  }

  function parseAction(): Node {
    const token = peek();
    if (token?.kind === 'word' && KEYWORDS.has(token.name)) {
      at += 1;
      if (token.name === 'if' || token.name === 'with' || token.name === 'range')
        return parseControl(token.name);
      if (loops === 0) throw templateError(`{{${token.name}}} outside {{range}}`);
      closeAction();
      return { kind: token.name === 'break' ? 'break' : 'continue' };
    }
    if (token?.kind === 'end') throw templateError('missing value for command');
    const pipe = parsePipe();
    closeAction();
    return { kind: 'action', pipe };
  }

  function parseControl(kind: 'if' | 'with' | 'range'): Node {
    return nested(() => {
      if (peek()?.kind === 'end') throw templateError(`missing value for ${kind}`);
      const pipe = parsePipe();
      closeAction();
      loops += kind === 'range' ? 1 : 0;
      const then = parseList(false);
      loops -= kind === 'range' ? 1 : 0;
      return { kind, pipe, then, otherwise: parseOtherwise(kind) };
    });
  }

  function parseOtherwise(kind: 'if' | 'with' | 'range'): readonly Node[] {
    if (isWord('end')) {
      at += 1;
      closeAction();
      return [];
    }
    at += 1;
    const chained = kind === 'range' ? undefined : (['if', 'with'] as const).find(isWord);
    if (chained !== undefined) {
      at += 1;
      // `{{else if}}` shares the `{{end}}` of what it belongs to.
      return [parseControl(chained)];
    }
    closeAction();
    const nodes = parseList(false);
    if (!isWord('end')) throw templateError('expected end; found {{else}}');
    at += 1;
    closeAction();
    return nodes;
  }

  function closeAction(): void {
    const token = peek();
    if (token?.kind !== 'end') throw templateError(`unexpected ${describe(token)} in operand`);
    at += 1;
  }

  function parsePipe(): Pipe {
    return nested(() => {
      const { variables, assigns } = parseVariables();
      const commands = [parseCommand()];
      while (isSymbol('|')) {
        at += 1;
        commands.push(parseCommand());
      }
      return { variables, assigns, commands };
    });
  }

  function parseVariables(): { readonly variables: readonly string[]; readonly assigns: boolean } {
    const start = at;
    const variables: string[] = [];
    for (let token = peek(); token?.kind === 'variable' && token.name !== ''; token = peek()) {
      variables.push(token.name);
      at += 1;
      if (!isSymbol(',')) break;
      at += 1;
    }
    const isAssignment = isSymbol('=');
    if (variables.length > 0 && (isAssignment || isSymbol(':='))) {
      at += 1;
      if (variables.length > 2) throw templateError('too many declarations in command');
      return { variables, assigns: isAssignment };
    }
    at = start;
    return { variables: [], assigns: false };
  }

  function parseCommand(): Command {
    const operands: Operand[] = [];
    for (let operand = parseOperand(); operand !== undefined; operand = parseOperand())
      operands.push(operand);
    if (operands.length === 0) throw templateError('missing value for command');
    return { operands };
  }

  function parseOperand(): Operand | undefined {
    const token = peek();
    if (token === undefined || token.kind === 'text') return undefined;
    switch (token.kind) {
      case 'literal':
        at += 1;
        return token;
      case 'word':
        return parseFunction(token.name);
      case 'field':
        return parseChain({ kind: 'dot' });
      case 'variable':
        at += 1;
        return parseChain({ kind: 'variable', name: token.name });
      case 'symbol':
        if (token.symbol !== '(') return undefined;
        at += 1;
        return parseParentheses();
      case 'begin':
      case 'end':
        return undefined;
    }
  }

  function parseParentheses(): Operand {
    const pipe = parsePipe();
    if (!isSymbol(')')) throw templateError('unclosed left paren');
    at += 1;
    return parseChain({ kind: 'pipe', pipe });
  }

  function parseFunction(name: string): Operand {
    if (UNSUPPORTED.has(name)) throw templateError(`{{${name}}} is not supported`);
    if (!isFunction(name)) throw templateError(`function ${JSON.stringify(name)} not defined`);
    at += 1;
    return { kind: 'function', name };
  }

  /** The dot's own first field stands alone; those after it, and all after another base, are glued to it. */
  function parseChain(base: Base): Operand {
    const fields: string[] = [];
    let isFirst = base.kind === 'dot';
    for (let token = peek(); token?.kind === 'field' && (isFirst || token.glued); token = peek()) {
      at += 1;
      if (token.name === '' && !isFirst) throw templateError('unexpected <.> in operand');
      if (token.name !== '') fields.push(token.name);
      isFirst = false;
    }
    return { kind: 'chain', base, fields };
  }

  return parseList(true);
}

function describe(token: Token | undefined): string {
  switch (token?.kind) {
    case 'symbol':
      return JSON.stringify(token.symbol);
    case 'literal':
      return JSON.stringify(token.text);
    case 'field':
    case 'variable':
    case 'word':
      return `<${token.name}>`;
    case 'text':
    case 'begin':
    case 'end':
    case undefined:
      return 'end of action';
  }
}

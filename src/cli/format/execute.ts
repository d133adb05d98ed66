/**
 * Executes a template on a value.
 *
 * Source: Go's text/template (exec.go of Go 1.22): what is true, what may be ranged over, which error is whose.
 */
import { FUNCTIONS, isFunction } from './functions.ts';
import { MAX_OUTPUT, MAX_STEPS, templateError } from './limits.ts';
import { parseTemplate, type Base, type Command, type Node, type Operand, type Pipe } from './parse.ts';
import {
  isList,
  isMap,
  isStruct,
  isTrue,
  kindOf,
  print,
  printInner,
  sortedEntries,
  type Value,
} from './values.ts';

export interface Template {
  /** Throws USAGE where the template asks for what the value has not. */
  execute(value: Value): string;
}

/** Throws USAGE with docker's words for what does not parse. */
export function compileTemplate(text: string): Template {
  const nodes = parseTemplate(text, isFunction);
  return { execute: (value) => execute(nodes, value) };
}

interface Variable {
  readonly name: string;
  value: Value;
}

type Flow = 'on' | 'break' | 'continue';

function execute(nodes: readonly Node[], root: Value): string {
  const variables: Variable[] = [{ name: '', value: root }];
  const parts: string[] = [];
  let length = 0;
  let steps = 0;

  function step(): void {
    steps += 1;
    if (steps > MAX_STEPS) throw templateError('executing "" takes too many steps');
  }

  function write(text: string): void {
    length += text.length;
    if (length > MAX_OUTPUT) throw templateError('executing "" writes too much');
    parts.push(text);
  }

  /** Variables that `body` declares are gone after it. */
  function scoped<T>(body: () => T): T {
    const mark = variables.length;
    const result = body();
    variables.length = mark;
    return result;
  }

  function runAll(list: readonly Node[], dot: Value): Flow {
    for (const node of list) {
      const flow = run(node, dot);
      if (flow !== 'on') return flow;
    }
    return 'on';
  }

  function run(node: Node, dot: Value): Flow {
    step();
    switch (node.kind) {
      case 'text':
        write(node.text);
        return 'on';
      case 'action': {
        const value = evaluate(node.pipe, dot);
        if (node.pipe.variables.length === 0) write(print(value));
        return 'on';
      }
      case 'if':
        return scoped(() => runAll(isTrue(evaluate(node.pipe, dot)) ? node.then : node.otherwise, dot));
      case 'with':
        return scoped(() => {
          const value = evaluate(node.pipe, dot);
          return isTrue(value) ? runAll(node.then, value) : runAll(node.otherwise, dot);
        });
      case 'range':
        return scoped(() => runRange(node, dot));
      case 'break':
      case 'continue':
        return node.kind;
    }
  }

  function runRange({ pipe, then, otherwise }: Extract<Node, { kind: 'range' }>, dot: Value): Flow {
    const entries = entriesOf(evaluate({ ...pipe, variables: [] }, dot));
    for (const [key, value] of entries) {
      step();
      const flow = scoped(() => {
        const [first, second] = pipe.variables;
        if (second !== undefined) {
          bind(first ?? '', key, pipe.assigns);
          bind(second, value, pipe.assigns);
        } else if (first !== undefined) bind(first, value, pipe.assigns);
        return runAll(then, value);
      });
      if (flow === 'break') break;
    }
    return entries.length === 0 ? runAll(otherwise, dot) : 'on';
  }

  function bind(name: string, value: Value, assigns: boolean): void {
    if (!assigns) variables.push({ name, value });
    else variableNamed(name).value = value;
  }

  function variableNamed(name: string): Variable {
    const found = variables.findLast((each) => each.name === name);
    if (found === undefined) throw templateError(`undefined variable "$${name}"`);
    return found;
  }

  function evaluate(pipe: Pipe, dot: Value): Value {
    let value: Value;
    let isFirst = true;
    for (const command of pipe.commands) {
      value = evaluateCommand(command, dot, isFirst ? [] : [value]);
      isFirst = false;
    }
    for (const name of pipe.variables) bind(name, value, pipe.assigns);
    return value;
  }

  function evaluateCommand({ operands }: Command, dot: Value, piped: readonly Value[]): Value {
    step();
    const [first, ...rest] = operands;
    if (first === undefined) return undefined;
    if (first.kind === 'function') return callFunction(first.name, rest, dot, piped);
    const args = [...rest.map((operand) => operandValue(operand, dot)), ...piped];
    if (args.length === 0) return operandValue(first, dot);
    const callee = first.kind === 'chain' ? chainValue(first, dot) : undefined;
    if (typeof callee === 'function') return callee(...args);
    throw templateError(
      `executing "" at <${show(first)}>: can't give argument to non-function ${show(first)}`,
    );
  }

  /** `and` and `or` look at no more than they need. */
  function callFunction(name: string, rest: readonly Operand[], dot: Value, piped: readonly Value[]): Value {
    if (name !== 'and' && name !== 'or') {
      const args = [...rest.map((operand) => operandValue(operand, dot)), ...piped];
      return FUNCTIONS.get(name)?.(...args);
    }
    let value: Value;
    for (const get of [
      ...rest.map((operand) => () => operandValue(operand, dot)),
      ...piped.map((v) => () => v),
    ]) {
      value = get();
      if (isTrue(value) === (name === 'or')) return value;
    }
    return value;
  }

  function operandValue(operand: Operand, dot: Value): Value {
    step();
    switch (operand.kind) {
      case 'literal':
        return operand.value;
      case 'function':
        return FUNCTIONS.get(operand.name)?.();
      case 'chain': {
        const value = chainValue(operand, dot);
        return typeof value === 'function' ? value() : value;
      }
    }
  }

  function chainValue(chain: Extract<Operand, { kind: 'chain' }>, dot: Value): Value {
    let value = baseValue(chain.base, dot);
    for (const name of chain.fields) value = fieldOf(value, name, show(chain));
    return value;
  }

  function baseValue(base: Base, dot: Value): Value {
    switch (base.kind) {
      case 'dot':
        return dot;
      case 'variable':
        return variableNamed(base.name).value;
      case 'pipe':
        return scoped(() => evaluate(base.pipe, dot));
    }
  }

  runAll(nodes, root);
  return parts.join('');
}

function fieldOf(holder: Value, name: string, shown: string): Value {
  const value = typeof holder === 'function' ? holder() : holder;
  if (isMap(value)) return value.get(name);
  if (isStruct(value) && Object.hasOwn(value, name)) return value[name];
  if (isStruct(value))
    throw templateError(`executing "" at <${shown}>: can't evaluate field ${name} in type struct`);
  if (value === null || value === undefined)
    throw templateError(`executing "" at <${shown}>: nil data; no entry for key ${JSON.stringify(name)}`);
  throw templateError(`executing "" at <${shown}>: can't evaluate field ${name} in type ${kindOf(value)}`);
}

function entriesOf(value: Value): readonly (readonly [Value, Value])[] {
  if (isList(value)) return value.map((each, index) => [index, each] as const);
  if (isMap(value)) return sortedEntries(value);
  if (value === null || value === undefined) return [];
  if (typeof value === 'number' && Number.isInteger(value) && value <= MAX_STEPS)
    return Array.from({ length: Math.max(0, value) }, (_, index) => [index, index] as const);
  throw templateError(`executing "" at <range>: range can't iterate over ${print(value)}`);
}

function show(operand: Operand): string {
  if (operand.kind === 'literal') return printInner(operand.value);
  if (operand.kind === 'function') return operand.name;
  const { base, fields } = operand;
  const start = base.kind === 'dot' ? '' : base.kind === 'variable' ? `$${base.name}` : '(…)';
  return fields.length === 0 ? start || '.' : `${start}.${fields.join('.')}`;
}

/** `--call=outline`: build arguments, secrets and agents that a target can be given. */
import type { SourceRef } from '../../src/base/errors.ts';
import type { ArgInfo, GlobalVariables } from './global-args.ts';
import { describedAs } from './global-args.ts';
import type { OutlineMount, StageState } from './stage.ts';
import type { Stage } from './stages.ts';

export interface Outline {
  readonly name?: string;
  readonly description?: string;
  readonly args: readonly ArgInfo[];
  readonly secrets: readonly NamedMount[];
  readonly ssh: readonly NamedMount[];
}

export interface NamedMount extends OutlineMount {
  readonly name: string;
}

/** `states`: all stages that the target is made from. */
export function outlineOf(
  target: Stage,
  states: ReadonlyMap<number, StageState>,
  globals: GlobalVariables,
): Outline {
  const args = new Map<string, ArgInfo>();
  for (const { outline } of states.values()) {
    const visit = (name: string): void => {
      const info = outline.args.get(name) ?? globals.args.get(name);
      if (info === undefined || args.has(name)) return;
      args.set(name, info);
      info.uses.forEach(visit);
    };
    outline.used.forEach(visit);
  }
  const description =
    target.name === undefined ? undefined : describedAs(target.from.raw.comments, target.name);
  return {
    ...(target.name === undefined ? {} : { name: target.name }),
    ...(description === undefined ? {} : { description }),
    args: inOrder([...args.values()]),
    secrets: mountsOf(states, ({ outline }) => outline.secrets),
    ssh: mountsOf(states, ({ outline }) => outline.ssh),
  };
}

function mountsOf(
  states: ReadonlyMap<number, StageState>,
  pick: (state: StageState) => ReadonlyMap<string, OutlineMount>,
): readonly NamedMount[] {
  const found = new Map<string, NamedMount>();
  for (const state of states.values())
    for (const [name, mount] of pick(state)) if (!found.has(name)) found.set(name, { name, ...mount });
  return inOrder([...found.values()]);
}

function inOrder<T extends { readonly source: SourceRef }>(items: readonly T[]): readonly T[] {
  return items.toSorted((a, b) => a.source.range.startLine - b.source.range.startLine);
}

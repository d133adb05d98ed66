/** A command: its flags, and its code, which is loaded when it runs. */
import type { CommandSpec, ParsedFlags } from './flags.ts';
import type { Session } from './session.ts';

export interface CommandEntry {
  /** The name may have two words: `volume ls`. */
  readonly spec: CommandSpec;
  readonly run: (flags: ParsedFlags, session: Session) => Promise<number>;
  /** Not shown in the overview. */
  readonly hidden?: true;
}

/** docker's grouped names of commands that have a short one. */
const GROUPED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  container: { ls: 'ps', list: 'ps', ps: 'ps', remove: 'rm' },
  image: { ls: 'images', list: 'images', rm: 'rmi', remove: 'rmi' },
  volume: { list: 'volume ls', remove: 'volume rm' },
  network: { list: 'network ls', remove: 'network rm' },
};
const OF_CONTAINERS = [
  ...[
    'attach',
    'commit',
    'cp',
    'create',
    'diff',
    'exec',
    'export',
    'inspect',
    'kill',
    'logs',
    'pause',
    'port',
  ],
  ...['rename', 'restart', 'rm', 'run', 'start', 'stats', 'stop', 'top', 'unpause', 'update', 'wait'],
];
const OF_IMAGES = ['build', 'history', 'import', 'inspect', 'load', 'pull', 'push', 'save', 'tag'];

export interface FoundCommand {
  readonly entry: CommandEntry;
  /** How many words its name took. */
  readonly words: number;
}

/** The command that `first` and `second` name, alone or together. */
export function findCommand(
  commands: readonly CommandEntry[],
  first: string | undefined,
  second: string | undefined,
): FoundCommand | undefined {
  const named = (name: string | undefined): CommandEntry | undefined =>
    commands.find(({ spec }) => spec.name === name);
  const both =
    second === undefined ? undefined : (named(`${first ?? ''} ${second}`) ?? named(ungrouped(first, second)));
  if (both !== undefined) return { entry: both, words: 2 };
  const one = named(first);
  return one === undefined ? undefined : { entry: one, words: 1 };
}

function ungrouped(group: string | undefined, word: string): string | undefined {
  const known = group === undefined || !Object.hasOwn(GROUPED, group) ? undefined : GROUPED[group];
  if (known !== undefined && Object.hasOwn(known, word)) return known[word];
  const sameName = group === 'container' ? OF_CONTAINERS : group === 'image' ? OF_IMAGES : [];
  return sameName.includes(word) ? word : undefined;
}

/** Second words of the commands whose name begins with `group`. */
export function actionsOf(commands: readonly CommandEntry[], group: string | undefined): readonly string[] {
  return commands
    .map(({ spec }) => spec.name.split(' '))
    .filter(([first, second]) => first === group && second !== undefined)
    .map(([, second = '']) => second);
}

/** What decides a RUN, part by part. */
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../../base/json.ts';
import type { Cause } from '../../progress/cause.ts';
import { describeInput, pair, textOf, type Execution, type Surroundings } from './execution.ts';

/** Parts that an instruction or a flag gives, and its name. */
const SETTINGS: Readonly<Record<string, string>> = {
  cwd: 'WORKDIR',
  user: 'USER',
  network: '--network',
  security: '--security',
  hostname: 'BUILDKIT_SANDBOX_HOSTNAME',
};

/** Causes for `parts`, the names of those that differ. */
export function compareRun(
  before: Execution,
  after: Execution,
  parts: ReadonlySet<string>,
  around: Surroundings,
): readonly Cause[] {
  const causes: Cause[] = [];
  if (parts.has('args') || parts.has('script')) causes.push(...compareCommand(before, after));
  if (parts.has('env')) causes.push(...compareEnvironment(before, after));
  for (const [part, name] of Object.entries(SETTINGS))
    if (parts.has(part))
      causes.push({
        kind: 'setting',
        name,
        ...pair(textOf(before.named[part]), textOf(after.named[part])),
      });
  if (parts.has('platform'))
    causes.push({
      kind: 'setting',
      name: 'platform',
      ...pair(before.origin.platform, after.origin.platform),
    });
  if (parts.has('mounts')) causes.push(...compareMounts(before, after, around));
  return causes;
}

/** The shell is what stands before the command. */
function compareCommand(before: Execution, after: Execution): readonly Cause[] {
  const [old, now] = [stringsOf(before.named['args']), stringsOf(after.named['args'])];
  const isSameScript = canonicalJson(before.named['script']) === canonicalJson(after.named['script']);
  const isOtherShell = isSameScript && old.at(-1) === now.at(-1) && before.origin.text === after.origin.text;
  if (isOtherShell)
    return [
      {
        kind: 'setting',
        name: 'SHELL',
        before: old.slice(0, -1).join(' '),
        after: now.slice(0, -1).join(' '),
      },
    ];
  const [text, textNow] = [before.origin.text, after.origin.text];
  // Of heredocs only the first line is in the text.
  if (text !== textNow) return [{ kind: 'instruction', before: text, after: textNow }];
  return [{ kind: 'instruction', before: commandOf(before), after: commandOf(after) }];
}

function commandOf({ named }: Execution): string {
  const { script } = named;
  const content = isJsonObject(script) ? textOf(script['content']) : undefined;
  return content ?? stringsOf(named['args']).at(-1) ?? '';
}

function stringsOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

function compareEnvironment(before: Execution, after: Execution): readonly Cause[] {
  const [old, now] = [environmentOf(before), environmentOf(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])].filter(
    (name) => old.get(name) !== now.get(name),
  );
  if (names.length === 0) return [{ kind: 'variable-order' }];
  return names.map((name) => ({
    kind: 'variable',
    variable: (now.has(name) ? after : before).origin.args.includes(name) ? 'ARG' : 'ENV',
    name,
    ...pair(old.get(name), now.get(name)),
  }));
}

function environmentOf({ named }: Execution): ReadonlyMap<string, string> {
  return new Map(
    stringsOf(named['env']).map((entry) => {
      const equals = entry.indexOf('=');
      return [entry.slice(0, equals), entry.slice(equals + 1)] as const;
    }),
  );
}

function compareMounts(before: Execution, after: Execution, around: Surroundings): readonly Cause[] {
  const [old, now] = [mountsOf(before), mountsOf(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])];
  return names.flatMap((mount): readonly Cause[] => {
    const [earlier, later] = [old.get(mount), now.get(mount)];
    if (earlier === undefined) return [{ kind: 'mount', mount, change: 'added' }];
    if (later === undefined) return [{ kind: 'mount', mount, change: 'removed' }];
    return compareMount(mount, earlier.mount, later, after, around);
  });
}

interface NamedMount {
  readonly mount: JsonObject;
  /** Which input its files come from. */
  readonly input: number | undefined;
}

/** By kind and place, `bind /src`; of several at one place, by number. */
function mountsOf({ named, origin }: Execution): ReadonlyMap<string, NamedMount> {
  const mounts = new Map<string, NamedMount>();
  const list: readonly Json[] = Array.isArray(named['mounts']) ? named['mounts'] : [];
  for (const [index, mount] of list.entries()) {
    if (!isJsonObject(mount)) continue;
    const name = `${textOf(mount['kind']) ?? ''} ${textOf(mount['target']) ?? textOf(mount['id']) ?? ''}`;
    let unique = name;
    for (let n = 2; mounts.has(unique); n += 1) unique = `${name} (${n})`;
    mounts.set(unique, { mount, input: origin.mountInputs?.[index] ?? undefined });
  }
  return mounts;
}

function compareMount(
  mount: string,
  before: JsonObject,
  { mount: after, input }: NamedMount,
  execution: Execution,
  around: Surroundings,
): readonly Cause[] {
  const options = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (option) => canonicalJson(before[option]) !== canonicalJson(after[option]),
  );
  return options.flatMap((option): readonly Cause[] => {
    const [old, now] = [textOf(before[option]), textOf(after[option])];
    if (option !== 'source' || before['kind'] !== 'bind')
      return [{ kind: 'mount', mount, change: 'option', option, ...pair(old, now) }];
    // A source is the identity of its input and a path in it.
    const [identity, path] = splitSource(old);
    const [identityNow, pathNow] = splitSource(now);
    const causes: Cause[] = [];
    if (path !== pathNow)
      causes.push({ kind: 'mount', mount, change: 'option', option, ...pair(path, pathNow) });
    if (identity !== identityNow && path === pathNow)
      causes.push(otherFiles(mount, input, execution, around));
    return causes;
  });
}

function splitSource(source = ''): readonly [string, string] {
  const space = source.indexOf(' ');
  return space < 0 ? [source, ''] : [source.slice(0, space), source.slice(space + 1)];
}

function otherFiles(
  mount: string,
  input: number | undefined,
  { origin }: Execution,
  around: Surroundings,
): Cause {
  if (input === undefined) return { kind: 'mount', mount, change: 'files' };
  const causes = around.causesOfInput(input);
  const option = describeInput(origin.inputs[input]);
  return { kind: 'mount', mount, change: 'files', option, ...(causes.length === 0 ? {} : { causes }) };
}

/** What decides a RUN, part by part. */
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../../base/json.ts';
import type { Cause } from '../../progress/cause.ts';
import { createInheritance, type Inheritance } from './compare-base.ts';
import { compareListings } from './compare-copy.ts';
import { describeInput, pair, textOf, type Execution, type Surroundings } from './execution.ts';
import { followsVariable, isSetByVariable, usedVariables } from './variables.ts';

/** Parts that an instruction or a flag gives, and its name. */
const SETTINGS: Readonly<Record<string, string>> = {
  cwd: 'WORKDIR',
  user: 'USER',
  network: '--network',
  security: '--security',
  hostname: 'BUILDKIT_SANDBOX_HOSTNAME',
  extraHosts: '--add-host',
};

/** Causes for `parts`, the names of those that differ. */
export function compareRun(
  before: Execution,
  after: Execution,
  parts: ReadonlySet<string>,
  around: Surroundings,
): readonly Cause[] {
  const causes: Cause[] = [];
  const base = createInheritance(before, after);
  if (parts.has('args') || parts.has('script')) causes.push(...compareCommand(before, after, base));
  if (parts.has('env')) causes.push(...compareEnvironment(before, after, base));
  const changed = new Set(changedNames(before, after));
  for (const [part, name] of Object.entries(SETTINGS))
    if (
      parts.has(part) &&
      !isSetByVariable(name, before, after, changed) &&
      !base.gives(name, shown(after.named[part]) !== undefined)
    )
      causes.push({
        kind: 'setting',
        name,
        ...pair(shown(before.named[part]), shown(after.named[part])),
      });
  if (parts.has('platform'))
    causes.push({
      kind: 'setting',
      name: 'platform',
      ...pair(before.origin.platform, after.origin.platform),
    });
  if (parts.has('mounts')) causes.push(...compareMounts(before, after, around));
  return [...base.causes(), ...causes];
}

function shown(value: Json | undefined): string | undefined {
  return Array.isArray(value) ? stringsOf(value).join(' ') : textOf(value);
}

/** The shell is what stands before the command. */
function compareCommand(before: Execution, after: Execution, base: Inheritance): readonly Cause[] {
  const [old, now] = [stringsOf(before.named['args']), stringsOf(after.named['args'])];
  const isSameScript = canonicalJson(before.named['script']) === canonicalJson(after.named['script']);
  const isOtherShell = isSameScript && old.at(-1) === now.at(-1) && before.origin.text === after.origin.text;
  // An image without a shell of its own has docker's.
  if (isOtherShell && (base.gives('SHELL', true) || base.gives('SHELL', false))) return [];
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

function compareEnvironment(before: Execution, after: Execution, base: Inheritance): readonly Cause[] {
  const [old, now] = [environmentOf(before), environmentOf(after)];
  const changed = changedNames(before, after);
  if (changed.length === 0) return [{ kind: 'variable-order' }];
  const names = changed.filter((name) => !base.gives(name, now.has(name)));
  const [written, writtenNow] = [before.origin.derived, after.origin.derived];
  const own = names.filter(
    (name) =>
      !followsVariable(
        written?.[name],
        writtenNow?.[name],
        (used) => used !== name && changed.includes(used),
      ),
  );
  // Where some are the base image's, all of the others may follow those.
  const causes = own.length === 0 && names.length === changed.length ? names : own;
  return causes.map((name) => ({
    kind: 'variable',
    variable: (now.has(name) ? after : before).origin.args.includes(name) ? 'ARG' : 'ENV',
    name,
    ...pair(old.get(name), now.get(name)),
  }));
}

/** Of variables of the environment. */
function changedNames(before: Execution, after: Execution): readonly string[] {
  const [old, now] = [environmentOf(before), environmentOf(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name));
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
  const moved = movedMounts(old, now);
  const names = [...new Set([...old.keys(), ...now.keys()])];
  const variables = usedVariables(before, after);
  const differences = names.flatMap((mount): readonly Cause[] => {
    const [earlier, later] = [old.get(mount), now.get(mount)];
    const move = moved.get(mount);
    if (move !== undefined) return move;
    if (earlier === undefined) return [{ kind: 'mount', mount, change: 'added' }];
    if (later === undefined) return [{ kind: 'mount', mount, change: 'removed' }];
    return compareMount(mount, [before, earlier], [after, later], around);
  });
  // In the same words, only variables and files can be others.
  if (variables.length > 0) {
    const inEnvironment = new Set(changedNames(before, after));
    const others = variables.filter(({ name }) => !inEnvironment.has(name));
    return [...others, ...differences.filter(isOfFiles)];
  }
  // The same mounts in another order.
  if (differences.length === 0)
    return [{ kind: 'instruction', before: before.origin.text, after: after.origin.text }];
  return differences;
}

function isOfFiles(cause: Cause): boolean {
  return cause.kind === 'mount' && cause.change === 'files';
}

/** By the names of both: what is mounted elsewhere now, or another secret at its usual place, is one change. */
function movedMounts(
  old: ReadonlyMap<string, NamedMount>,
  now: ReadonlyMap<string, NamedMount>,
): ReadonlyMap<string, readonly Cause[]> {
  const moved = new Map<string, readonly Cause[]>();
  for (const [name, { mount: after }] of now) {
    if (old.has(name)) continue;
    for (const [mount, { mount: before }] of old) {
      if (now.has(mount) || moved.has(mount)) continue;
      const option = changedAlone(before, after);
      if (option === undefined) continue;
      moved.set(mount, [optionCause(mount, option, before, after)]);
      moved.set(name, []);
      break;
    }
  }
  return moved;
}

function optionCause(mount: string, option: string, before: JsonObject, after: JsonObject): Cause {
  const name = option === 'kind' ? 'type' : option;
  const [old, now] = [shownOption(option, before[option]), shownOption(option, after[option])];
  return { kind: 'mount', mount, change: 'option', option: name, ...pair(old, now) };
}

/** As a Dockerfile has it. */
function shownOption(option: string, value: Json | undefined): string | undefined {
  return option === 'mode' && typeof value === 'number' ? `0${value.toString(8)}` : textOf(value);
}

/** The one option that two mounts of different names differ in; what else there is to another kind follows from it. */
function changedAlone(before: JsonObject, after: JsonObject): 'target' | 'id' | 'kind' | undefined {
  if (before['kind'] !== after['kind']) return before['target'] === after['target'] ? 'kind' : undefined;
  const options = changedOptions(before, after);
  const isSecret = before['kind'] === 'secret' && after['kind'] === 'secret';
  if (options.length === 1 && options[0] === 'target') return 'target';
  const isOther = options.length === 2 && options.includes('id') && options.includes('target');
  return isSecret && isOther && isAtUsualPlace(before) && isAtUsualPlace(after) ? 'id' : undefined;
}

function isAtUsualPlace({ id, target }: JsonObject): boolean {
  return target === `/run/secrets/${textOf(id)?.split('/').at(-1) ?? ''}`;
}

function changedOptions(before: JsonObject, after: JsonObject): readonly string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (option) => canonicalJson(before[option]) !== canonicalJson(after[option]),
  );
}

interface NamedMount {
  readonly mount: JsonObject;
  /** Which input its files come from. */
  readonly input: number | undefined;
  /** Whose these are, for people. */
  readonly from: string;
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
    const input = origin.mountInputs?.[index] ?? undefined;
    const from = input === undefined ? '' : describeInput(origin.inputs[input]);
    mounts.set(unique, { mount, input, from });
  }
  return mounts;
}

function compareMount(
  mount: string,
  [executionBefore, { mount: before, from: fromBefore }]: readonly [Execution, NamedMount],
  [executionNow, { mount: after, input, from }]: readonly [Execution, NamedMount],
  around: Surroundings,
): readonly Cause[] {
  return changedOptions(before, after).flatMap((option): readonly Cause[] => {
    if (option !== 'source') return [optionCause(mount, option, before, after)];
    // A cache that begins empty has none.
    if (before[option] === undefined || after[option] === undefined)
      return [
        { kind: 'mount', mount, change: 'option', option: 'from', ...pair(given(fromBefore), given(from)) },
      ];
    const [old, now] = [textOf(before[option]), textOf(after[option])];
    // A source is the identity of its input and a path in it.
    const [identity, path] = splitSource(old);
    const [identityNow, pathNow] = splitSource(now);
    const causes: Cause[] = [];
    if (path !== pathNow)
      causes.push({ kind: 'mount', mount, change: 'option', option, ...pair(path, pathNow) });
    if (from !== fromBefore)
      causes.push({ kind: 'mount', mount, change: 'option', option: 'from', ...pair(fromBefore, from) });
    else if (identity !== identityNow && path === pathNow)
      causes.push(
        listedFiles(mount, [executionBefore, identity], [executionNow, identityNow], input) ??
          otherFiles(mount, input, from, around),
      );
    return causes;
  });
}

function given(text: string): string | undefined {
  return text === '' ? undefined : text;
}

function splitSource(source = ''): readonly [string, string] {
  const space = source.indexOf(' ');
  return space < 0 ? [source, ''] : [source.slice(0, space), source.slice(space + 1)];
}

/** undefined where what is mounted was not listed, then or now. */
function listedFiles(
  mount: string,
  [before, digestBefore]: readonly [Execution, string],
  [after, digest]: readonly [Execution, string],
  input: number | undefined,
): Cause | undefined {
  if (
    input === undefined ||
    before.listing(digestBefore) === undefined ||
    after.listing(digest) === undefined
  )
    return undefined;
  const causes = compareListings(before, after, digestBefore, digest, new Set(), input);
  const option = describeInput(after.origin.inputs[input]);
  return causes.length === 0 ? undefined : { kind: 'mount', mount, change: 'files', option, causes };
}

function otherFiles(mount: string, input: number | undefined, from: string, around: Surroundings): Cause {
  if (input === undefined) return { kind: 'mount', mount, change: 'files' };
  const causes = around.causesOfInput(input);
  return { kind: 'mount', mount, change: 'files', option: from, ...(causes.length === 0 ? {} : { causes }) };
}

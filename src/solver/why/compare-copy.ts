/** What decides a COPY, an ADD or a WORKDIR, part by part. */
import { toText, type ByteString } from '../../base/byte-string.ts';
import { canonicalJson, isJsonObject, type Json } from '../../base/json.ts';
import type { Cause } from '../../progress/cause.ts';
import { createIgnoreMatcher, parseIgnoreFile, type IgnoreMatcher } from '../../layer/ignore-patterns.ts';
import { countFiles, differenceOf, type Entries } from './listing-difference.ts';
import { compareFiles } from './compare-files.ts';
import {
  describeInput,
  describeSources,
  GivenUp,
  isDigestText,
  pair,
  textOf,
  type Execution,
} from './execution.ts';
import { isSetByVariable, usedVariables } from './variables.ts';

/** Parts that a flag gives, and the flag. */
const FLAGS: Readonly<Record<string, string>> = {
  owner: '--chown',
  chmod: '--chmod',
  parents: '--parents',
  link: '--link',
  unpack: '--unpack',
  excludes: '--exclude',
};
/** Parts that decide what a list of files holds. */
const LISTED_BY = ['owner', 'chmod', 'parents', 'excludes'];
/** Changes that a cause holds; the rest is a number. */
const MAX_CHANGES = 20;

/** Causes for `parts`, the names of those that differ. */
export function compareCopy(
  before: Execution,
  after: Execution,
  parts: ReadonlySet<string>,
): readonly Cause[] {
  const variables = usedVariables(before, after);
  // What is written is the same and the words are not: then the variables in them are what changed.
  const isByVariable = variables.length > 0;
  const causes: Cause[] = [...variables];
  // That ADD unpacks is what it is called for.
  for (const [part, name] of Object.entries(FLAGS))
    if (parts.has(part) && !isByVariable && !(part === 'unpack' && parts.has('instruction')))
      causes.push(setting(name, part, before, after));
  const isOtherPath =
    parts.has('destination') ||
    parts.has('instruction') ||
    patternsDiffer(before, after) ||
    isOtherPart(before, after, parts);
  if (isOtherPath && !isByVariable) causes.push(otherPath(before, after));
  const changed = new Set(variables.map(({ name }) => name));
  if (parts.has('workdirUser') && !isSetByVariable('USER', before, after, changed))
    causes.push(setting('USER', 'workdirUser', before, after));
  if (parts.has('sources') && !patternsDiffer(before, after) && !isOtherPart(before, after, parts))
    causes.push(...compareSources(before, after, parts));
  return causes;
}

/** What is fetched is known by its address: another ref, or another directory of a repository, stands in the words alone. */
function isOtherPart(before: Execution, after: Execution, parts: ReadonlySet<string>): boolean {
  const isFetched = after.origin.inputs.some(({ kind }) => kind === 'fetched');
  const isBySources = [...parts].every((part) => part === 'sources' || part === 'parent');
  return isFetched && isBySources && before.origin.text !== after.origin.text;
}

function setting(name: string, part: string, before: Execution, after: Execution): Cause {
  return { kind: 'setting', name, ...pair(shown(before.named[part]), shown(after.named[part])) };
}

function shown(value: Json | undefined): string | undefined {
  if (isJsonObject(value) && typeof value['user'] === 'string') {
    const { user, group } = value;
    return typeof group === 'string' ? `${user}:${group}` : user;
  }
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.join(' ');
  return value === false || value === 'never' ? undefined : textOf(value);
}

function patternsDiffer(before: Execution, after: Execution): boolean {
  const selected = (execution: Execution): Json => [
    ...(execution.origin.patterns ?? []),
    describeSources(execution.origin),
  ];
  return canonicalJson(selected(before)) !== canonicalJson(selected(after));
}

/** In the same words, other paths come from another working directory, and other files from what a name stands for now. */
function otherPath(before: Execution, after: Execution): Cause {
  const [old, now] = [before.origin.text, after.origin.text];
  if (old !== now) return { kind: 'instruction', before: old, after: now };
  const [from, fromNow] = [describeSources(before.origin), describeSources(after.origin)];
  if (canonicalJson(before.named['destination']) === canonicalJson(after.named['destination']))
    return { kind: 'setting', name: '--from', ...pair(from, fromNow) };
  return setting('WORKDIR', 'destination', before, after);
}

function compareSources(before: Execution, after: Execution, parts: ReadonlySet<string>): readonly Cause[] {
  const [old, now] = [listOf(before.named['sources']), listOf(after.named['sources'])];
  if (old.length !== now.length)
    return [{ kind: 'instruction', before: before.origin.text, after: after.origin.text }];
  return now.flatMap((source, index): readonly Cause[] => {
    const earlier = old[index];
    if (canonicalJson(source) === canonicalJson(earlier)) return [];
    const [files, filesBefore] = [partOf(source, 'files'), partOf(earlier, 'files')];
    if (isDigestText(files) && isDigestText(filesBefore))
      return compareListings(before, after, filesBefore, files, parts, inputOf(after, index));
    const inline = textOf(partOf(source, 'inline'));
    const isSameText = partOf(source, 'content') === partOf(earlier, 'content');
    // Only what it is called is another.
    if (inline !== undefined && isSameText)
      return [{ kind: 'instruction', before: before.origin.text, after: after.origin.text }];
    // Variables in it are what changed.
    if (inline !== undefined && isWrittenAlike(before, after)) return [];
    if (inline !== undefined) return [{ kind: 'source', source: `heredoc ${inline}` }];
    const [whole, wholeBefore] = [partOf(source, 'whole'), partOf(earlier, 'whole')];
    const of = describeInput(after.origin.inputs[inputOf(after, index)]);
    return [{ kind: 'source', source: of, ...pair(textOf(wholeBefore), textOf(whole)) }];
  });
}

function isWrittenAlike({ origin: before }: Execution, { origin: after }: Execution): boolean {
  return after.heredocs !== undefined && before.heredocs === after.heredocs && before.text === after.text;
}

/** Sources that stand in the Dockerfile itself have no input. */
function inputOf({ named, origin }: Execution, index: number): number {
  const known = origin.sourceInputs?.[index];
  if (typeof known === 'number') return known;
  const sources = listOf(named['sources']);
  const before = sources.slice(0, index).filter((source) => partOf(source, 'inline') === undefined);
  return Math.min(1 + before.length, Math.max(1, origin.inputs.length - 1));
}

/** What was listed of each source, and whose files those are. */
export function filesOfSources(
  execution: Execution,
): readonly { readonly files: string | undefined; readonly input: number }[] {
  return listOf(execution.named['sources']).map((source, index) => {
    const files = partOf(source, 'files');
    return { files: isDigestText(files) ? files : undefined, input: inputOf(execution, index) };
  });
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function partOf(value: Json | undefined, name: string): Json | undefined {
  return isJsonObject(value) ? value[name] : undefined;
}

/** Of files that both executions have listed, or once had: what differs. */
export function compareListings(
  before: Execution,
  after: Execution,
  digestBefore: string,
  digest: string,
  parts: ReadonlySet<string>,
  input: number,
): readonly Cause[] {
  const source = describeInput(after.origin.inputs[input]);
  const [textBefore, text] = [before.listing(digestBefore), after.listing(digest)];
  if (textBefore === undefined || text === undefined) {
    // With other flags the lists are others in any case, so they say nothing of the files.
    const isOtherList = LISTED_BY.some((part) => parts.has(part));
    const of = text === undefined ? 0 : countFiles(text);
    return isOtherList ? [] : [{ kind: 'files', source, changes: [], changed: 0, of }];
  }
  const { giveUpAt = Infinity } = before;
  const comparison = compareFiles(
    {
      withoutModes: parts.has('chmod') || parts.has('parents'),
      withoutOwners: parts.has('owner'),
      most: MAX_CHANGES,
    },
    (changed) => {
      if (changed >= giveUpAt) throw new GivenUp();
    },
  );
  const { gone, come, files, notKept } = differenceOf(textBefore, text, (...entry) =>
    comparison.entry(...entry),
  );
  const visible = filterByIgnoreFile(before, after, gone, come);
  // With other --exclude or --parents, what is listed is another set.
  const isOtherSet = parts.has('excludes') || parts.has('parents');
  const { changes, changed, beside } = isOtherSet
    ? comparison.finish(new Map(), new Map())
    : comparison.finish(visible.gone, visible.come);
  const causes: Cause[] = visible.cause === undefined ? [] : [visible.cause];
  if (changed > 0) causes.push({ kind: 'files', source, changes, changed, of: files + beside + notKept });
  return causes;
}

interface Visible {
  readonly gone: Entries;
  readonly come: Entries;
  readonly cause?: Cause;
}

/** What came and went because the ignore file changed is one cause, and no change of files. */
function filterByIgnoreFile(before: Execution, after: Execution, gone: Entries, come: Entries): Visible {
  const file = after.origin.ignore?.file ?? before.origin.ignore?.file;
  const [textBefore = '', text = ''] = [before.ignoreText(), after.ignoreText()];
  if (file === undefined || text === textBefore) return { gone, come };
  const [was, is] = [matcherOf(textBefore), matcherOf(text)];
  const added = [...come.keys()].filter((path) => was(path) && !is(path));
  const removed = [...gone.keys()].filter((path) => is(path) && !was(path));
  if (added.length === 0 && removed.length === 0) return { gone, come };
  return {
    gone: without(gone, [...removed, ...onTheWayTo(removed, gone)]),
    come: without(come, [...added, ...onTheWayTo(added, come)]),
    cause: {
      kind: 'ignore',
      file,
      added: added.slice(0, MAX_CHANGES).map(toText),
      removed: removed.slice(0, MAX_CHANGES).map(toText),
    },
  };
}

/** Directories among `entries` that came or went for the sake of what lies in them. */
function onTheWayTo(paths: readonly string[], entries: Entries): readonly string[] {
  const directories = new Set<string>();
  for (const path of paths)
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const directory = path.slice(0, at);
      if (directories.has(directory)) break;
      if (entries.has(directory)) directories.add(directory);
    }
  return [...directories];
}

function matcherOf(text: string): (path: ByteString) => boolean {
  let matcher: IgnoreMatcher | undefined;
  try {
    matcher = createIgnoreMatcher(parseIgnoreFile(text));
  } catch {
    // It could not be read then, so it left out nothing.
    return () => false;
  }
  const known = matcher;
  return (path) => known.excludes(toText(path));
}

function without(entries: Entries, paths: readonly string[]): Entries {
  const gone = new Set(paths);
  return new Map([...entries].filter(([path]) => !gone.has(path)));
}

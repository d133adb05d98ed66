/** Causes in words: short ones for progress, and one line each for `tsbuild why`. Values of secrets are not shown. */
import { redact } from '../../base/redact.ts';
import type { BaseImage, Cause, FileChange } from '../../progress/cause.ts';

const MAX_VALUE = 60;
const SECRET = /(pass(word|wd|phrase)?|secret|token|key|credential|auth)/i;

/** All causes in a few words: the first, and how many more there are. */
export function summarize(causes: readonly Cause[]): string {
  const [first, ...more] = causes;
  if (first === undefined) return '';
  return `${describeCause(first)}${more.length === 0 ? '' : ` (and ${more.length} more)`}`;
}

export function describeCause(cause: Cause): string {
  switch (cause.kind) {
    case 'new':
      return 'there is no earlier execution of it';
    case 'no-cache':
      return '--no-cache';
    case 'lost':
      return 'what it made is no longer in the store';
    case 'base':
      return describeBase(cause.before, cause.after);
    case 'parent':
      return `it follows ${cause.step}, which has other files`;
    case 'order':
      return `it follows ${cause.step} instead of ${cause.before}`;
    case 'instruction':
      return `the instruction changed from ${value(cause.before)} to ${value(cause.after)}`;
    case 'variable':
      return describeChange(`${cause.variable} ${cause.name}`, cause, SECRET.test(cause.name));
    case 'variable-order':
      return 'the variables have another order';
    case 'setting':
      return describeChange(cause.name, cause, false);
    case 'files':
      return describeFiles(cause);
    case 'ignore':
      return describeIgnore(cause);
    case 'mount':
      return describeMount(cause);
    case 'source':
      return describeChange(cause.source, cause, false);
    case 'other':
      return `${cause.part} changed`;
  }
}

function describeBase(before: BaseImage, after: BaseImage): string {
  if (before.reference !== after.reference)
    return `the base image changed from ${before.reference} to ${after.reference}`;
  return `the base image ${after.reference} changed from ${short(before.image)} to ${short(after.image)}`;
}

/** As `docker images` shows ids. */
function short(image = 'nothing'): string {
  return image.replace(/^(sha256:)([0-9a-f]{12}).*$/, '$1$2');
}

function describeChange(
  name: string,
  { before, after }: { readonly before?: string; readonly after?: string },
  isSecret: boolean,
): string {
  if (before === undefined && after === undefined) return `${name} changed`;
  if (before === undefined) return isSecret ? `${name} is new` : `${name} is new: ${value(after)}`;
  if (after === undefined) return `${name} is gone`;
  return isSecret ? `${name} changed` : `${name} changed from ${value(before)} to ${value(after)}`;
}

function value(text = ''): string {
  const shown = redact(text);
  return JSON.stringify(shown.length > MAX_VALUE ? `${shown.slice(0, MAX_VALUE)}…` : shown);
}

function describeFiles({ changes, changed, of, source }: Extract<Cause, { kind: 'files' }>): string {
  const [first] = changes;
  if (first === undefined) return `files of ${source} changed`;
  if (changed === 1) return describeFile(first);
  return `${changed} of ${of} files of ${source} changed: ${first.path}, …`;
}

/** How many files the changes are of. */
export function countChanged(changes: readonly FileChange[]): number {
  return new Set(changes.map(({ path }) => path)).size;
}

export function describeFile({ change, path, from, before, after }: FileChange): string {
  switch (change) {
    case 'content':
      return `${path} changed`;
    case 'added':
      return `${path} is new`;
    case 'removed':
      return `${path} is gone`;
    case 'renamed':
      return `${from ?? ''} was renamed to ${path}`;
    case 'mode':
      return `the mode of ${path} changed from ${before ?? ''} to ${after ?? ''}`;
    case 'owner':
      return `the owner of ${path} changed from ${before ?? ''} to ${after ?? ''}`;
    case 'type':
      return `${path} was a ${before ?? ''} and is a ${after ?? ''}`;
    case 'target':
      return `the link ${path} leads to ${value(after)} instead of ${value(before)}`;
    case 'capability':
      return `the capabilities of ${path} changed`;
  }
}

function describeIgnore({ file, added, removed }: Extract<Cause, { kind: 'ignore' }>): string {
  const [first, ...more] = removed.length > 0 ? removed : added;
  const files = `${first ?? ''}${more.length === 0 ? '' : ` and ${more.length} more`}`;
  return removed.length > 0
    ? `${file} leaves out ${files} now`
    : `${file} does not leave out ${files} any more`;
}

function describeMount(cause: Extract<Cause, { kind: 'mount' }>): string {
  const { mount, change, option, causes = [] } = cause;
  switch (change) {
    case 'added':
      return `the mount ${mount} is new`;
    case 'removed':
      return `the mount ${mount} is gone`;
    case 'option':
      return describeChange(`${option ?? 'an option'} of the mount ${mount}`, cause, false);
    case 'files':
      return causes.length === 0
        ? `the files of the mount ${mount} changed`
        : `the files of the mount ${mount} changed: ${summarize(causes)}`;
  }
}

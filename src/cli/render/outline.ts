/** `--call=outline` and `--call=targets`: tables for people, BuildKit's JSON for programs. */
import type { SourceRef } from '../../base/errors.ts';
import type { Outline } from '../../../frontend/lower/outline.ts';
import { describedAs } from '../../../frontend/lower/global-args.ts';
import type { Stage } from '../../../frontend/lower/stages.ts';
import { refAt } from '../../../frontend/parse/source.ts';
import { table } from '../table.ts';

interface Source {
  readonly text: string;
}

function locationOf({ range }: SourceRef): object {
  return {
    ranges: [{ start: { line: range.startLine, character: 0 }, end: { line: range.endLine, character: 0 } }],
  };
}

export function renderOutline(outline: Outline, { text }: Source, json: boolean): string {
  const { name, description, args, secrets, ssh } = outline;
  if (json) {
    const mounts = (list: Outline['secrets']): object[] =>
      list.map(({ name: id, required, source }) => ({
        name: id,
        ...(required ? { required } : {}),
        location: locationOf(source),
      }));
    const shown = {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      args: args.map(({ name: key, value, description: about, source }) => ({
        name: key,
        ...(about === undefined ? {} : { description: about }),
        ...(value === undefined ? {} : { value }),
        location: locationOf(source),
      })),
      ...(secrets.length === 0 ? {} : { secrets: mounts(secrets) }),
      ...(ssh.length === 0 ? {} : { ssh: mounts(ssh) }),
      sources: [Buffer.from(text).toString('base64')],
    };
    return `${JSON.stringify(shown, null, 2)}\n`;
  }
  const blocks: string[] = [];
  if (name !== undefined) blocks.push(`TARGET:      ${name}\n`);
  if (description !== undefined) blocks.push(`DESCRIPTION: ${description}\n`);
  if (blocks.length > 0) blocks.push('\n');
  if (args.length > 0)
    blocks.push(
      table(
        ['BUILD ARG', 'VALUE', 'DESCRIPTION'],
        args.map(({ name: key, value, description: about }) => [key, value ?? '', about ?? '']),
      ),
      '\n',
    );
  const mounts = (head: string, list: Outline['secrets']): void => {
    if (list.length === 0) return;
    blocks.push(
      table(
        [head, 'REQUIRED'],
        list.map(({ name: id, required }) => [id, String(required)]),
      ),
      '\n',
    );
  };
  mounts('SECRET', secrets);
  mounts('SSH', ssh);
  return blocks.join('');
}

export function renderTargets(stages: readonly Stage[], { text }: Source, json: boolean): string {
  const targets = stages.map((stage) => {
    const { name, from, index } = stage;
    const description = name === undefined ? undefined : describedAs(from.raw.comments, name);
    return {
      name: name ?? '',
      ...(description === undefined ? {} : { description }),
      default: index === stages.length - 1,
      base: from.image,
      ...(from.platform === undefined ? {} : { platform: from.platform }),
      location: locationOf(refAt(from.raw)),
    };
  });
  if (json)
    return `${JSON.stringify({ targets, sources: [Buffer.from(text).toString('base64')] }, null, 2)}\n`;
  return table(
    ['TARGET', 'DESCRIPTION'],
    targets
      .filter((target) => target.name !== '' || target.default)
      .map((target) => [
        `${target.name === '' ? '(unnamed)' : target.name}${target.default ? ' (default)' : ''}`,
        target.description ?? '',
      ]),
  );
}

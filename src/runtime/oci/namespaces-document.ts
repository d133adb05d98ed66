/** `linux.namespaces` of a config: which kinds are new, and which are joined by path. */
import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { NamespaceChoice, NamespaceKind } from '../runtime.ts';
import type { Fields } from './fields.ts';

export type Namespaces = Readonly<Partial<Record<NamespaceKind, NamespaceChoice>>>;

export const KINDS: readonly NamespaceKind[] = [
  ...(['mount', 'cgroup', 'uts', 'ipc', 'pid', 'network', 'user', 'time'] as const),
];

export function choiceOf(namespaces: Namespaces, kind: NamespaceKind): NamespaceChoice {
  return namespaces[kind] ?? 'host';
}

export function parseNamespaces(linux: Fields): Namespaces {
  const found: Partial<Record<NamespaceKind, NamespaceChoice>> = {};
  for (const each of linux.list('namespaces')) {
    const type = each.required('type', each.text('type'));
    const kind = KINDS.find((name) => name === type);
    if (kind === undefined)
      throw new TsbuildError(
        'SPEC_INVALID',
        `${each.nameOf('type')}: namespace ${JSON.stringify(type)} does not exist`,
      );
    if (found[kind] !== undefined)
      throw new TsbuildError('SPEC_INVALID', `malformed spec file: duplicated ns ${JSON.stringify(type)}`);
    const path = each.text('path') ?? '';
    if (path !== '' && !isAbsolute(path))
      throw new TsbuildError(
        'SPEC_INVALID',
        `${each.nameOf('path')} must be absolute: ${JSON.stringify(path)}`,
      );
    if (path !== '' && !existsSync(path))
      throw new TsbuildError(
        'SPEC_INVALID',
        `${each.nameOf('path')}: ${JSON.stringify(path)}: no such file or directory`,
      );
    found[kind] = path === '' ? 'new' : { join: path };
  }
  return found;
}

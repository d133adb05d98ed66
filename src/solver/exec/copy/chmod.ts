/** Modes of --chmod: octal for everything, symbolic per entry (chmod(1) with umask 0). */
import type { EntryType } from '../../../layer/tree.ts';

export interface Chmod {
  /** For directories that are made on the way; undefined: 0755. */
  readonly created: number | undefined;
  /** What becomes of all but symlinks: nothing, the same mode, or something that depends on what it was. */
  readonly modes: number | 'kept' | 'computed';
  apply(mode: number, type: EntryType): number;
}

export function parseChmod(text: string | undefined): Chmod {
  if (text === undefined || text === '') return { created: undefined, modes: 'kept', apply: (mode) => mode };
  if (/^[0-7]+$/.test(text)) {
    const mode = parseInt(text, 8);
    return { created: mode, modes: mode, apply: (old, type) => (type === 'symlink' ? old : mode) };
  }
  const clauses = text.split(',');
  return {
    created: undefined,
    modes: 'computed',
    apply: (mode, type) =>
      type === 'symlink'
        ? mode
        : clauses.reduce((now, clause) => applyClause(now, clause, type === 'directory'), mode),
  };
}

const SHIFT: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 };

function applyClause(mode: number, clause: string, isDirectory: boolean): number {
  const [, whoText = '', actions = ''] = /^([ugoa]*)(.*)$/.exec(clause) ?? [];
  const who = whoText === '' || whoText.includes('a') ? ['u', 'g', 'o'] : [...new Set(whoText)];
  let result = mode;
  for (const [, operator = '', permissions = ''] of actions.matchAll(/([-+=])([rwxXstugo]*)/g)) {
    const bits = bitsOf(permissions, who, result, isDirectory);
    const all = maskOf(who);
    if (operator === '+') result |= bits;
    else if (operator === '-') result &= ~bits;
    else result = (result & ~all) | bits;
  }
  return result & 0o7777;
}

/** Everything that `=` replaces. */
function maskOf(who: readonly string[]): number {
  let mask = 0;
  for (const each of who)
    mask |= (7 << (SHIFT[each] ?? 0)) | (each === 'u' ? 0o4000 : each === 'g' ? 0o2000 : 0o1000);
  return mask;
}

function bitsOf(permissions: string, who: readonly string[], mode: number, isDirectory: boolean): number {
  let bits = 0;
  for (const permission of permissions)
    for (const each of who) {
      const shift = SHIFT[each] ?? 0;
      if (permission === 'r') bits |= 4 << shift;
      else if (permission === 'w') bits |= 2 << shift;
      else if (permission === 'x') bits |= 1 << shift;
      else if (permission === 'X') bits |= isDirectory || (mode & 0o111) !== 0 ? 1 << shift : 0;
      else if (permission === 's') bits |= each === 'u' ? 0o4000 : each === 'g' ? 0o2000 : 0;
      else if (permission === 't') bits |= 0o1000;
      else bits |= ((mode >> (SHIFT[permission] ?? 0)) & 7) << shift;
    }
  return bits;
}

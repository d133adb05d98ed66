/** What can be said of an instruction before anything is expanded, whatever stage it belongs to. */
import { narrow } from '../../src/base/errors.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Instruction } from './instruction.ts';

/** Throws INSTRUCTION_INVALID. Of --mount, all but `from` is looked at when its stage is needed. */
export function checkInstruction(instruction: Instruction): void {
  if (instruction.kind !== 'RUN') return;
  for (const flag of instruction.flags.all) {
    if (flag.name !== 'mount') continue;
    const at = refAt(instruction.raw, flag.from, flag.to);
    for (const field of mountFields(flag.value ?? '')) {
      if (/^from=/i.test(field) && /\$./.test(field))
        throw syntaxError(
          'INSTRUCTION_INVALID',
          "'from' of --mount does not support variables",
          narrow(at, field),
          'define an alias stage with FROM and name that',
        );
    }
  }
}

/** Fields of one CSV record: quotes protect commas, a doubled quote is one. */
export function mountFields(text: string): readonly string[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char === '"' && quoted && text[at + 1] === '"') {
      field += char;
      at += 1;
    } else if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      fields.push(field);
      field = '';
    } else field += char;
  }
  return [...fields, field];
}

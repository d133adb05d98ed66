/** What can be said of an instruction before anything is expanded, whatever stage it belongs to. */
import { narrow } from '../../src/base/errors.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Instruction } from './instruction.ts';

/** Keys of --mount that mean something without a value. */
const VALUELESS = new Set(['readonly', 'ro', 'readwrite', 'rw', 'required', 'env']);

/** Throws INSTRUCTION_INVALID. */
export function checkInstruction(instruction: Instruction): void {
  if (instruction.kind !== 'RUN') return;
  for (const flag of instruction.flags.all) {
    if (flag.name !== 'mount') continue;
    const at = refAt(instruction.raw, flag.from, flag.to);
    for (const field of mountFields(flag.value ?? '')) {
      const equals = field.indexOf('=');
      const key = (equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase();
      if (equals < 0 && !VALUELESS.has(key))
        throw syntaxError(
          'INSTRUCTION_INVALID',
          `invalid field ${JSON.stringify(field)} in --mount`,
          narrow(at, field),
          field.startsWith('/') ? `write target=${field}` : 'write key=value',
        );
      if (key === 'from' && field.includes('$'))
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
  return [...fields, field].filter((each) => each !== '');
}

/** Rules that need the file alone: how keywords and names are written, comments above definitions. */
import type { Instruction } from '../instructions/instruction.ts';
import { takeFlags, whitespaceWords } from '../parse/arguments.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt } from '../parse/source.ts';
import type { Stage } from '../lower/stages.ts';
import type { Linter } from './linter.ts';
import { isCheckComment } from './options.ts';

const RESERVED = new Set(['scratch', 'context']);

/** Rules of a raw instruction; asked before it is checked, so that warnings above an error are seen. */
export function checkRaw(raw: RawInstruction, linter: Linter): void {
  if (raw.keyword === 'MAINTAINER')
    linter.report(
      'MaintainerDeprecated',
      'MAINTAINER is deprecated: write LABEL org.opencontainers.image.authors="…"',
      refAt(raw),
    );
  if (raw.keyword !== 'FROM') return;
  const words = whitespaceWords(takeFlags(raw, raw.restOffset).rest);
  if (words.length !== 3) return;
  const [, as = '', name = ''] = words;
  if (name !== name.toLowerCase())
    linter.report('StageNameCasing', `the stage name '${name}' should be lower-case`, refAt(raw));
  const { keywordText } = raw;
  const wanted = isLower(keywordText) ? as.toLowerCase() : isUpper(keywordText) ? as.toUpperCase() : as;
  if (as !== wanted)
    linter.report(
      'FromAsCasing',
      `'${as}' is not in the case of '${keywordText}': write '${wanted}'`,
      refAt(raw),
    );
}

/** Comments directly above ARG and FROM … AS describe them, if they begin with their names. */
export function checkDescription(instruction: Instruction, linter: Linter): void {
  const comment = instruction.raw.comments.findLast((each) => !isCheckComment(each));
  const names =
    instruction.kind === 'ARG'
      ? instruction.args.map(({ name }) => name)
      : instruction.kind === 'FROM' && instruction.name !== undefined
        ? [instruction.name]
        : [];
  const [first] = names;
  if (comment === undefined || first === undefined || names.includes(comment.split(' ', 1)[0] ?? '')) return;
  const shown = names.length > 1 ? '<argument>' : first;
  linter.report(
    'InvalidDefinitionDescription',
    `the comment above this ${instruction.kind} should read "# ${shown} <description>"`,
    refAt(instruction.raw),
  );
}

export function checkStages(stages: readonly Stage[], linter: Linter): void {
  const names = new Set<string>();
  for (const { name, from } of stages) {
    if (name === undefined) continue;
    if (RESERVED.has(name))
      linter.report('ReservedStageName', `'${name}' has a meaning of its own in FROM`, refAt(from.raw));
    if (names.has(name))
      linter.report('DuplicateStageName', `the stage name '${name}' is taken already`, refAt(from.raw));
    names.add(name);
  }
  checkCasing(
    stages.flatMap(({ from, instructions }) => [from.raw, ...instructions.map(({ raw }) => raw)]),
    linter,
  );
}

function checkCasing(instructions: readonly RawInstruction[], linter: Linter): void {
  const lower = instructions.filter(({ keywordText }) => isLower(keywordText)).length;
  const upper = instructions.filter(({ keywordText }) => isUpper(keywordText)).length;
  const fits = lower > upper ? isLower : isUpper;
  for (const raw of instructions)
    if (!fits(raw.keywordText))
      linter.report(
        'ConsistentInstructionCasing',
        `'${raw.keywordText}' is not in the case of most keywords here (${lower > upper ? 'lower' : 'upper'}-case)`,
        refAt(raw),
      );
}

function isLower(word: string): boolean {
  return word === word.toLowerCase();
}

function isUpper(word: string): boolean {
  return word === word.toUpperCase();
}

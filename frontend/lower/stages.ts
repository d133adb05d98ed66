/** Which instructions belong to which stage, and which stage is the target. */
import { suggest } from '../../src/base/suggest.ts';
import { TsbuildError } from '../../src/base/errors.ts';
import type { Instruction, InstructionOf } from '../instructions/instruction.ts';
import { lineRef, refAt, syntaxError, type SourceFile } from '../parse/source.ts';

export interface Stage {
  readonly index: number;
  /** Lower-case name after AS. */
  readonly name: string | undefined;
  readonly from: InstructionOf<'FROM'>;
  readonly instructions: readonly Instruction[];
}

export interface Stages {
  readonly globals: readonly InstructionOf<'ARG'>[];
  readonly stages: readonly Stage[];
}

export function splitStages(instructions: readonly Instruction[], source: SourceFile): Stages {
  const globals: InstructionOf<'ARG'>[] = [];
  const stages: {
    index: number;
    name: string | undefined;
    from: InstructionOf<'FROM'>;
    instructions: Instruction[];
  }[] = [];
  for (const instruction of instructions) {
    if (instruction.kind === 'FROM')
      stages.push({ index: stages.length, name: instruction.name, from: instruction, instructions: [] });
    else if (stages.length > 0) stages.at(-1)?.instructions.push(instruction);
    else if (instruction.kind === 'ARG') globals.push(instruction);
    else
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `there is no build stage yet for ${instruction.raw.keyword}`,
        refAt(instruction.raw),
        'begin with FROM; only ARG may stand before it',
      );
  }
  if (stages.length === 0)
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      'the Dockerfile has no stage to build',
      lineRef(source, 1, ''),
      'add a FROM instruction',
    );
  return { globals, stages };
}

export function findTarget(stages: readonly Stage[], wanted: string | undefined): Stage {
  const last = stages.at(-1);
  if (last === undefined) throw new TsbuildError('STAGE_NOT_FOUND', 'there is no stage');
  if (wanted === undefined || wanted === '') return last;
  const found = stages.findLast((stage) => stage.name === wanted.toLowerCase());
  if (found !== undefined) return found;
  const near = suggest(
    wanted,
    stages.flatMap((stage) => stage.name ?? []),
  );
  throw new TsbuildError(
    'STAGE_NOT_FOUND',
    `target stage ${JSON.stringify(wanted)} could not be found`,
    near === undefined ? {} : { hint: `did you mean ${JSON.stringify(near)}?` },
  );
}

/** Which instructions belong to which stage, and which stage is the target. */
import { suggest } from '../../src/base/suggest.ts';
import { TsbuildError, type SourceRef } from '../../src/base/errors.ts';
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
  const lastArg = globals.at(-1);
  if (stages.length === 0)
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      'the Dockerfile has no stage to build',
      lastArg === undefined ? lineRef(source, 1, '') : refAt(lastArg.raw),
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
  throw new TsbuildError('STAGE_NOT_FOUND', `target stage ${JSON.stringify(wanted)} could not be found`, {
    hint: near === undefined ? stagesHint(stages, wanted) : `did you mean ${JSON.stringify(near)}?`,
  });
}

function stagesHint(stages: readonly Stage[], wanted: string): string {
  const names = stages.flatMap(({ name }) => (name === undefined ? [] : [JSON.stringify(name)]));
  if (names.length === 0)
    return `write FROM … AS ${/^[a-z]/i.test(wanted) ? wanted : 'NAME'} to name a stage`;
  return `the stages are ${names.join(', ')}`;
}

/** The stage that `--from` means: an earlier one; undefined: no stage has that name. Throws STAGE_INVALID. */
export function findEarlierStage(
  stages: readonly Stage[],
  name: string,
  current: Stage,
  at: SourceRef,
): Stage | undefined {
  const fail = (message: string, hint?: string): TsbuildError =>
    syntaxError('STAGE_INVALID', message, at, hint);
  if (/^\d+$/.test(name)) {
    const index = Number(name);
    const found = stages[index];
    if (index === current.index)
      throw fail(`circular dependency: stage ${name} takes files from itself`, ITSELF);
    if (found === undefined) throw fail(`invalid stage index ${name}`, lastStage(stages));
    if (index > current.index)
      throw fail(
        `cannot take files from stage ${name}: it is defined after this stage`,
        moveUp(found, current),
      );
    return found;
  }
  const wanted = name.toLowerCase();
  const found = stages.findLast((each) => each.name === wanted && each.index < current.index);
  if (found !== undefined) return found;
  if (current.name === wanted)
    throw fail(`circular dependency: stage ${JSON.stringify(name)} takes files from itself`, ITSELF);
  const later = stages.find((each) => each.name === wanted);
  if (later !== undefined)
    throw fail(
      `cannot take files from stage ${JSON.stringify(name)}: it is defined after this stage`,
      moveUp(later, current),
    );
  return undefined;
}

const ITSELF = 'name an earlier stage: what this one has is there already';

function moveUp({ from: { raw } }: Stage, current: Stage): string {
  return `move it (line ${raw.range.startLine}) above line ${current.from.raw.range.startLine}`;
}

function lastStage(stages: readonly Stage[]): string {
  return `stages count from 0: the last one is ${stages.length - 1}`;
}

/** A number after --from must be that of a stage, also in stages that nobody needs. Throws STAGE_INVALID. */
export function checkStageNumbers(stages: readonly Stage[]): void {
  for (const { instructions } of stages)
    for (const instruction of instructions) {
      if (instruction.kind !== 'COPY') continue;
      const from = instruction.flags.text('from') ?? '';
      if (/^\d+$/.test(from) && stages[Number(from)] === undefined)
        throw syntaxError(
          'STAGE_INVALID',
          `invalid stage index ${from}`,
          instruction.flags.at('from'),
          lastStage(stages),
        );
    }
}

/** "did you mean" for names that should have been those of stages. */
import { narrow, TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { refAt } from '../parse/source.ts';
import type { Stage } from './stages.ts';

/** Where FROM names its image. */
export function imageRef({ raw, image }: InstructionOf<'FROM'>): SourceRef {
  return narrow(refAt(raw), image);
}

function namesBefore(stages: readonly Stage[], index: number): readonly string[] {
  return stages.slice(0, index).flatMap(({ name }) => name ?? []);
}

/** What to write instead of a name that is no earlier stage. */
export function stageHint(name: string, stages: readonly Stage[], index: number): string {
  const names = namesBefore(stages, index);
  const near = suggest(name, names);
  if (near !== undefined) return `did you mean ${JSON.stringify(near)}?`;
  return names.length === 0
    ? 'name a stage above with FROM … AS NAME'
    : `the stages before it are ${names.map((each) => JSON.stringify(each)).join(', ')}`;
}

/** An image that no registry has may be a stage with a typing error. */
export function withNearStage(
  error: unknown,
  name: string,
  stages: readonly Stage[],
  index: number,
): unknown {
  if (!(error instanceof TsbuildError) || !error.code.startsWith('REGISTRY_')) return error;
  const near = suggest(name, namesBefore(stages, index));
  if (near === undefined) return error;
  return new TsbuildError(error.code, error.message, {
    hint: `did you mean the stage ${JSON.stringify(near)}?`,
    cause: error.cause ?? error,
  });
}

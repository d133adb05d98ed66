/** One execution of a step, as comparisons see it: now, or as a record has it. */
import type { Digest } from '../../base/digest.ts';
import type { Json } from '../../base/json.ts';
import type { Cause } from '../../progress/cause.ts';
import type { NamedInputs } from '../handler.ts';
import type { ListingText } from '../listing.ts';
import type { InputOrigin, StepOrigin } from './origin.ts';

export interface Execution {
  readonly named: NamedInputs;
  readonly origin: StepOrigin;
  /** Text of the listing behind a digest of files, as it is kept; undefined where it is no longer known. */
  readonly listing: (digest: string) => ListingText | undefined;
  /** Text of the ignore file; undefined where there is none or it is no longer known. */
  readonly ignoreText: () => string | undefined;
  /** Once so many files are found to differ, another execution is nearer, and the comparison is given up; it throws GivenUp. */
  readonly giveUpAt?: number;
}

export class GivenUp extends Error {}

/** What is known of the inputs of the step that is asked about. */
export interface Surroundings {
  /** Why an input was executed in this build, where it was. */
  readonly causesOfInput: (index: number) => readonly Cause[];
  /** The names of steps that were executed in this build and whose layers COPY --link put on top of an input. */
  readonly linkedOnto: (index: number) => readonly string[];
  /** Those of them that had made something else before; without COPY --link, that is the input itself or nothing. */
  readonly changedSteps: (index: number) => readonly string[];
}

export function textOf(value: Json | undefined): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Whose files an input gives, for people. */
export function describeInput(input: InputOrigin | undefined): string {
  switch (input?.kind) {
    case undefined:
      return 'an input';
    case 'image':
      return `image ${input.reference}`;
    case 'context':
      return input.name === 'context' ? 'the build context' : `build context ${JSON.stringify(input.name)}`;
    case 'fetched':
      return input.url;
    case 'step':
      return input.stage === '' ? input.name : `stage ${JSON.stringify(input.stage)}`;
  }
}

/** Whose files a COPY takes. */
export function describeSources({ inputs }: Pick<StepOrigin, 'inputs'>): string {
  return inputs
    .slice(1)
    .map((input) => describeInput(input))
    .join(', ');
}

/** `before` and `after`, each only where there is one. */
export function pair(
  before: string | undefined,
  after: string | undefined,
): { readonly before?: string; readonly after?: string } {
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

export function isDigestText(value: Json | undefined): value is Digest & Json {
  return typeof value === 'string' && value.startsWith('sha256:');
}

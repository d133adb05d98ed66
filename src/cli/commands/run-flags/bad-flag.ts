/** Values of flags that make no sense, in docker's words: scripts and people look for them. */
import { TsbuildError } from '../../../base/errors.ts';

/** `flag` as docker names it, e.g. `-m, --memory`. Exit code 125: the container was not started. */
export function badFlag(flag: string, value: string, reason: string, hint?: string): TsbuildError {
  return new TsbuildError(
    'USAGE',
    `invalid argument ${JSON.stringify(value)} for "${flag}" flag: ${reason}`,
    {
      exitCode: 125,
      ...(hint === undefined ? {} : { hint }),
    },
  );
}

/** Flags that do not go together, or need one another. */
export function badFlags(message: string, hint?: string): TsbuildError {
  return new TsbuildError('USAGE', message, { exitCode: 125, ...(hint === undefined ? {} : { hint }) });
}

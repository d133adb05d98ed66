/** Bounds of templates: what nobody writes by hand, but a hostile wrapper could pass on. */
import { TsbuildError } from '../../base/errors.ts';

export const MAX_TEMPLATE = 64 << 10;
/** Characters that one execution may write. */
export const MAX_OUTPUT = 64 << 20;
export const MAX_DEPTH = 64;
/** Evaluated nodes in one execution. */
export const MAX_STEPS = 2_000_000;
/** Width and precision of printf, and of `pad`. */
export const MAX_WIDTH = 4096;

/** In docker's words, which scripts grep for. */
export function templateError(detail: string): TsbuildError {
  return new TsbuildError('USAGE', `template parsing error: template: :1: ${detail}`, {
    hint: 'see docs/format.md for what a template may hold',
    exitCode: 1,
  });
}

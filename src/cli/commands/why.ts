/** `tsbuild why [CONTEXT] [STEP]`. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { explainBuild, type WhyStep } from '../../engine/why.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import { renderWhy } from '../render/why.ts';
import type { Session } from '../session.ts';
import { readRequest } from './build.ts';
import { remoteContext } from './context-flag.ts';

export async function runWhy(flags: ParsedFlags, session: Session): Promise<number> {
  const format = flags.text('format') ?? 'text';
  if (format !== 'text' && format !== 'json')
    throw new TsbuildError('USAGE', `invalid --format ${JSON.stringify(format)}`, {
      hint: 'use text or json',
    });
  const { context, step } = splitWords(flags.words, session.cwd);
  // --format is about what is printed here, not about what would be pushed.
  const text = (name: string): string | undefined => (name === 'format' ? undefined : flags.text(name));
  const request = await readRequest({ ...flags, text, words: [context] }, session);
  const renderer = createRenderer(flags, session);
  let steps: readonly WhyStep[];
  try {
    steps = await explainBuild(session.engine(), request, { sink: renderer, signal: session.signal });
  } finally {
    renderer.end();
  }
  const chosen = step === undefined ? steps : chooseSteps(steps, step);
  session.stdout.write(
    format === 'json'
      ? `${JSON.stringify({ steps: chosen })}\n`
      : renderWhy(chosen, { nowMs: session.host.now(), isOne: step !== undefined }),
  );
  return 0;
}

/** A word alone is a context where there is such a directory, else a step of the one here. */
function splitWords(
  words: readonly string[],
  cwd: string,
): { readonly context: string; readonly step: string | undefined } {
  const [first = '.', second] = words;
  if (second !== undefined) return { context: first, step: second };
  const isContext =
    first === '-' ||
    remoteContext(first) !== undefined ||
    statSync(resolve(cwd, first), { throwIfNoEntry: false })?.isDirectory() === true;
  return isContext ? { context: first, step: undefined } : { context: '.', step: first };
}

/** `3`, `:12` (a line), a stage, `STAGE:3`, or a part of the instruction. Throws USAGE where nothing is meant. */
function chooseSteps(steps: readonly WhyStep[], wanted: string): readonly WhyStep[] {
  const found = steps.filter(matcherFor(wanted));
  if (found.length > 0) return found;
  throw new TsbuildError('USAGE', `there is no step ${JSON.stringify(wanted)}`, {
    hint: `give a number from 1 to ${steps.length}, a line as in :12, a stage, or a part of the instruction`,
  });
}

function matcherFor(wanted: string): (step: WhyStep) => boolean {
  if (/^\d+$/.test(wanted)) return ({ number }) => number === Number(wanted);
  const [, line] = /^:(\d+)$/.exec(wanted) ?? [];
  if (line !== undefined) return (step) => step.line === Number(line);
  const [, stage, number] = /^([^:\s]+):(\d+)$/.exec(wanted) ?? [];
  if (stage !== undefined)
    return (step) => step.stage === stage && new RegExp(`^\\[(?:\\S+ )?${number}/`).test(step.name);
  const text = wanted.toLowerCase();
  return (step) => step.stage === text || step.name.toLowerCase().includes(text);
}

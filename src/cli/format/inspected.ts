/** `inspect`: what was asked for as indented JSON (docker's four spaces), as lines of JSON, or through a template. */
import { compileTemplate } from './execute.ts';
import { toJson, type Value } from './values.ts';

/** Throws USAGE for a template that does not parse, or asks for a field that there is not. */
export function formatInspected(things: readonly Value[], format: string | undefined): string {
  if (format === undefined || format === '') return `${JSON.stringify(things.map(toJson), null, 4)}\n`;
  if (format === 'json') return `${JSON.stringify(things.map(toJson))}\n`;
  const template = compileTemplate(format);
  return things.map((thing) => `${template.execute(thing)}\n`).join('');
}

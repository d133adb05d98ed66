/** HEALTHCHECK: Go durations in, nanoseconds out. */
import { narrow } from '../../src/base/errors.ts';
import type { Healthcheck } from '../../src/oci/documents.ts';
import { parseJsonForm, type FlagValues } from '../parse/arguments.ts';
import type { RawInstruction } from '../parse/lines.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Instruction } from './instruction.ts';

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const MINIMUM = 1e6;
/** 64 bits with a sign, less what a double rounds. */
const MAXIMUM = 2 ** 63 - 1024;

export function parseHealthcheck(raw: RawInstruction, rest: string, flags: FlagValues): Instruction {
  const type = /^\S*/.exec(rest)?.[0] ?? '';
  const after = rest.slice(type.length).trim();
  const fail = (message: string, hint: string, at = refAt(raw)): never => {
    throw syntaxError('INSTRUCTION_INVALID', message, at, hint);
  };
  if (type === '')
    return fail('HEALTHCHECK needs an argument', 'write HEALTHCHECK CMD command, or HEALTHCHECK NONE');
  if (type.toUpperCase() === 'NONE') {
    if (after !== '')
      fail('HEALTHCHECK NONE takes no arguments', 'leave them out', narrow(refAt(raw), after));
    return { kind: 'HEALTHCHECK', raw, healthcheck: { Test: ['NONE'] } };
  }
  if (type.toUpperCase() !== 'CMD')
    return fail(
      `unknown type ${JSON.stringify(type)} in HEALTHCHECK`,
      `write HEALTHCHECK CMD ${type} …, or HEALTHCHECK NONE`,
      narrow(refAt(raw), type),
    );
  if (after === '')
    return fail('HEALTHCHECK CMD needs a command', 'write e.g. HEALTHCHECK CMD wget -q localhost || exit 1');
  const args = parseJsonForm(raw, after);
  const duration = (flag: string): number => {
    const text = flags.text(flag);
    if (text === undefined) return 0;
    const value = parseDuration(text);
    if (value === undefined)
      return fail(
        `invalid duration ${JSON.stringify(text)} of --${flag}`,
        /^\d+$/.test(text) ? `add the unit: --${flag}=${text}s` : 'write e.g. 30s or 1m30s',
        flags.at(flag),
      );
    if (value !== 0 && value < MINIMUM)
      fail(
        `--${flag} cannot be less than 1ms, and is ${JSON.stringify(text)}`,
        'write e.g. 500ms, or 0 for the default',
        flags.at(flag),
      );
    return value;
  };
  const retriesText = flags.text('retries');
  const retries = retriesText === undefined || retriesText === '' ? 0 : Number(retriesText);
  if (!Number.isSafeInteger(retries) || retries < 0)
    fail(
      `--retries must be a number that is not negative, not ${JSON.stringify(retriesText)}`,
      'write e.g. --retries=3',
      flags.at('retries'),
    );
  const set = (key: keyof Healthcheck, value: number): Healthcheck => (value === 0 ? {} : { [key]: value });
  const healthcheck: Healthcheck = {
    Test: args === undefined ? ['CMD-SHELL', after] : ['CMD', ...args],
    ...set('Interval', duration('interval')),
    ...set('Timeout', duration('timeout')),
    ...set('StartPeriod', duration('start-period')),
    ...set('StartInterval', duration('start-interval')),
    ...set('Retries', retries),
  };
  return { kind: 'HEALTHCHECK', raw, healthcheck };
}

/** Nanoseconds of a Go duration (`1m30s`, `1.5h`, `0`). */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.exec(text);
  if (match === null) return undefined;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g))
    total += Number(number) * (UNITS[unit ?? ''] ?? 0);
  if (total > MAXIMUM) return undefined;
  return Math.round(match[1] === '-' ? -total : total);
}

/** As Go prints a duration: `1m30s`, `500ms`. */
export function formatDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const hours = Math.floor(nanoseconds / 3600e9);
  const minutes = Math.floor((nanoseconds % 3600e9) / 60e9);
  const seconds = (nanoseconds % 60e9) / 1e9;
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`;
}

/** Signals by name and number, the realtime ones (SIGRTMIN+3 stops systemd) among them, which Node does not know. */
import { constants } from 'node:os';

/** `SIGTERM`, `SIGRTMIN+3`. */
export type Signal = NodeJS.Signals | `SIGRTM${'IN' | 'AX'}${string}`;

const NUMBERS = constants.signals as Readonly<Record<string, number>>;
/** As C libraries count them, which keep 32 and 33 for themselves. */
const [FIRST_REALTIME, LAST_REALTIME] = [34, 64];

/** Of `SIGTERM`, `term`, `SIGRTMIN`, `RTMAX-2`; undefined where there is no such signal. */
export function signalNumber(text: string): number | undefined {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`;
  if (Object.hasOwn(NUMBERS, name)) return NUMBERS[name];
  const [, from, offset = '0'] = /^SIGRTM(IN(?=$|\+)|AX(?=$|-))(?:[+-](\d{1,2}))?$/.exec(name) ?? [];
  if (from === undefined) return undefined;
  const number = from === 'IN' ? FIRST_REALTIME + Number(offset) : LAST_REALTIME - Number(offset);
  return number >= FIRST_REALTIME && number <= LAST_REALTIME ? number : undefined;
}

/** The usual name of 1 to 64. */
export function signalName(number: number): Signal | undefined {
  const name = Object.entries(NUMBERS).find(([, value]) => value === number)?.[0];
  if (name !== undefined) return name as Signal;
  if (number < FIRST_REALTIME || number > LAST_REALTIME) return undefined;
  return number === FIRST_REALTIME ? 'SIGRTMIN' : `SIGRTMIN+${number - FIRST_REALTIME}`;
}

/** A signal by name or number, under its usual name. */
export function parseSignalText(text: string): Signal | undefined {
  const number = /^\d{1,2}$/.test(text) ? Number(text) : signalNumber(text);
  return number === undefined ? undefined : signalName(number);
}

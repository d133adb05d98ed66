/** Keys that leave a container's terminal without ending it: Ctrl-P Ctrl-Q, or what --detach-keys says. */
import { badFlag } from '../run-flags/bad-flag.ts';

const DEFAULT_KEYS = 'ctrl-p,ctrl-q';

/** `ctrl-a,b,ctrl-\\` as bytes; empty: no such keys. Throws USAGE. */
export function parseDetachKeys(text: string = DEFAULT_KEYS): Uint8Array {
  if (text === '') return Uint8Array.of();
  return Uint8Array.from(text.split(','), (key) => {
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    const [, control = ''] = /^ctrl-([a-z@[\\\]^_])$/i.exec(key) ?? [];
    if (control === '')
      throw badFlag('--detach-keys', text, `Unknown character: '${key}'`, 'write e.g. ctrl-p,ctrl-q');
    return control.toUpperCase().charCodeAt(0) & 0x1f;
  });
}

export interface DetachFilter {
  /** What of the typed bytes is meant for the program. What may be the beginning of the keys waits. */
  pass(typed: Uint8Array): Uint8Array;
  /** Whether the keys were typed. */
  readonly isDetached: boolean;
}

export function createDetachFilter(keys: Uint8Array): DetachFilter {
  let matched = 0;
  let isDetached = false;
  return {
    get isDetached() {
      return isDetached;
    },
    pass(typed) {
      const passed: number[] = [];
      for (const byte of typed) {
        if (isDetached) break;
        if (keys.length > 0 && byte === keys[matched]) matched += 1;
        else {
          passed.push(...keys.subarray(0, matched));
          matched = keys.length > 0 && byte === keys[0] ? 1 : 0;
          if (matched === 0) passed.push(byte);
        }
        isDetached = keys.length > 0 && matched === keys.length;
      }
      return Uint8Array.from(passed);
    },
  };
}

/** Text that may be shown: no control characters, no passwords, not endless. */

const CREDENTIALS = /([a-z][a-z0-9+.-]*:\/\/)([^/\s:@]*:[^/\s@]*)@/gi;
const SIGNED = /([?&](?:[^=&\s]*(?:signature|token|sig|credential|_state|password)[^=&\s]*)=)([^&\s"']+)/gi;

/** Strikes out passwords in URLs and signed query values. */
export function redact(text: string): string {
  return text.replace(CREDENTIALS, '$1***@').replace(SIGNED, '$1***');
}

/** As `redact`; every character keeps its place. */
export function mask(text: string): string {
  const stars = (secret: string): string => '*'.repeat(secret.length);
  return text
    .replace(CREDENTIALS, (_, scheme: string, secret: string) => `${scheme}${stars(secret)}@`)
    .replace(SIGNED, (_, key: string, secret: string) => key + stars(secret));
}

/** Without control characters, terminal sequences first; tabs and line ends stay. */
export function clean(text: string): string {
  return text
    .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|.)?/g, '')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '');
}

/** A text of a message, its middle left out where it is very long. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor((limit - 3) / 2);
  return `${text.slice(0, half).trimEnd()} … ${text.slice(-half).trimStart()}`;
}

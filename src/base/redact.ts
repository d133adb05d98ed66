/** Secrets in texts: passwords in URLs, signed query values, authorization headers, tokens. They are struck out. */

/*
 * why bounds, and no scheme before `://`: what is looked through may be a megabyte that somebody made up, and a pattern that
 * looks ahead from everywhere takes hours for that.
 */
const CREDENTIALS = /(:\/\/)([^/\s:@]*:[^/\s@]*)@/g;
const SIGNED =
  /([?&][^?=&\s]{0,100}(?:signature|token|sig|credential|_state|password)[^?=&\s]{0,100}=)([^&\s"']+)/gi;
/** An ordinary word after `basic` is no credential. */
const HEADER = /\b((?:[Bb]earer|[Bb]asic) +)((?=[a-z._~+/-]*[A-Z0-9=])[A-Za-z0-9._~+/-]{4,}=*)/g;
/** A JSON web token, wherever it stands. */
const TOKEN = /\b(ey[A-Za-z0-9_-]{8,1000}\.)([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?)/g;

/** Strikes secrets out. */
export function redact(text: string): string {
  return text
    .replace(CREDENTIALS, '$1***@')
    .replace(SIGNED, '$1***')
    .replace(HEADER, '$1***')
    .replace(TOKEN, 'ey***');
}

/** As `redact`; every character keeps its place. */
export function mask(text: string): string {
  const stars = (secret: string): string => '*'.repeat(secret.length);
  return text
    .replace(CREDENTIALS, (_, scheme: string, secret: string) => `${scheme}${stars(secret)}@`)
    .replace(SIGNED, (_, key: string, secret: string) => key + stars(secret))
    .replace(HEADER, (_, scheme: string, secret: string) => scheme + stars(secret))
    .replace(TOKEN, (_, head: string, rest: string) => head + stars(rest));
}

/** Names that look as if they held a secret. */

const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
/** A public key, the path of a key, the version of a token format: nothing to hide. */
const HARMLESS = /(?:_|^)(?:public|file|version)(?:_|$)/i;

export function looksSecret(name: string): boolean {
  return SECRET.test(name) && !HARMLESS.test(name);
}

/**
 * Credential helpers: `docker-credential-NAME get|store|erase`, one request on standard input, one answer on
 * standard output. Nothing goes through a shell.
 *
 * Source: docker-credential-helpers, "credentials" package (the protocol).
 */
import { spawn } from 'node:child_process';
import { isJsonObject } from '../base/json.ts';
import { pairOf, type Credentials } from './auth-file.ts';

export type HelperAnswer =
  | { readonly kind: 'found'; readonly credentials: Credentials }
  /** It knows nothing of this registry. */
  | { readonly kind: 'none' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'failed'; readonly reason: string };

const HELPER_NAME = /^[A-Za-z0-9._-]+$/;
const TIMEOUT_MS = 30_000;
const MAX_ANSWER = 1 << 20;
const MAX_REASON = 300;
const NOT_FOUND = 'credentials not found in native keychain';

export function isHelperName(name: string): boolean {
  return HELPER_NAME.test(name);
}

export async function askHelper(name: string, key: string): Promise<HelperAnswer> {
  const ended = await callHelper(name, 'get', key);
  if (ended === undefined) return { kind: 'missing' };
  if (ended.code !== 0) {
    const said = ended.output.trim();
    return said === NOT_FOUND ? { kind: 'none' } : { kind: 'failed', reason: reasonOf(ended) };
  }
  let value: unknown;
  try {
    value = JSON.parse(ended.output);
  } catch {
    return { kind: 'failed', reason: 'its answer is not JSON' };
  }
  const { Username, Secret } = isJsonObject(value) ? value : {};
  if (typeof Username !== 'string' || typeof Secret !== 'string')
    return { kind: 'failed', reason: 'its answer has no Username, or no Secret' };
  return Secret === '' ? { kind: 'none' } : { kind: 'found', credentials: pairOf(Username, Secret) };
}

/** Why it did not work; undefined: it did. */
export async function storeInHelper(
  name: string,
  key: string,
  { username, password, identityToken }: Credentials,
): Promise<string | undefined> {
  const ended = await callHelper(
    name,
    'store',
    JSON.stringify({
      ServerURL: key,
      Username: identityToken === undefined ? username : '<token>',
      Secret: identityToken ?? password,
    }),
  );
  if (ended === undefined) return 'there is no such program';
  return ended.code === 0 ? undefined : reasonOf(ended);
}

/** Whether something was erased. */
export async function eraseInHelper(name: string, key: string): Promise<boolean> {
  return (await callHelper(name, 'erase', key))?.code === 0;
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** What a helper says goes to people; an answer that might hold a secret does not. */
function reasonOf({ code, output }: Ended): string {
  const said = output.trim();
  if (said === '' || said.startsWith('{'))
    return code === null ? 'it took too long' : `it ended with ${code}`;
  return said.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, MAX_REASON);
}

function callHelper(name: string, action: string, input: string): Promise<Ended | undefined> {
  return new Promise((resolve) => {
    const child = spawn(`docker-credential-${name}`, [action], { stdio: ['pipe', 'pipe', 'ignore'] });
    // why: spawn's own timeout goes on ticking, and so keeps the process alive, when there is no such program.
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS).unref();
    let output = '';
    child.once('error', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    child.stdout.on('data', (data: Buffer) => (output = (output + data.toString()).slice(0, MAX_ANSWER)));
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** An answer of a registry, as the client reads it. */
import type { Dispatcher } from 'undici';
import { parseChallenges, type Challenge } from './challenge.ts';

export interface Response {
  readonly status: number;
  /** The first of its name. */
  header(name: string): string | undefined;
  challenges(): readonly Challenge[];
  /** Texts of `Warning: 299` headers. */
  warnings(): readonly string[];
  saysInsufficientScope(): boolean;
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads and drops the body. */
  discard(): Promise<void>;
  /** Where it came from, after redirects. */
  readonly url: string;
}

const MAX_ERROR_BODY = 64 * 1024;
const MAX_WARNING = 500;

export function responseOf(response: Dispatcher.ResponseData, url: string): Response {
  const all = (name: string): readonly string[] => {
    const value = response.headers[name];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  };
  const challenges = (): readonly Challenge[] => parseChallenges(all('www-authenticate'));
  return {
    status: response.statusCode,
    header: (name) => all(name)[0],
    challenges,
    warnings: () => all('warning').flatMap(parseWarning),
    saysInsufficientScope: () =>
      challenges().some(({ parameters }) => parameters.get('error') === 'insufficient_scope'),
    body: response.body as AsyncIterable<Uint8Array>,
    async discard() {
      try {
        await response.body.dump();
      } catch {
        // What is thrown away need not arrive.
      }
    },
    url,
  };
}

/** `299 - "text"` as the distribution specification has it; others are not for people. */
function parseWarning(value: string): readonly string[] {
  const text = /^\s*299\s+\S+\s+"((?:[^"\\]|\\.)*)"/.exec(value)?.[1];
  if (text === undefined) return [];
  return [
    text
      .replace(/\\(.)/g, '$1')
      .replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
      .slice(0, MAX_WARNING),
  ];
}

/** The beginning of a body, whatever happens to the rest. */
export async function readText(response: Response, limit = MAX_ERROR_BODY): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > limit) break;
    }
  } catch {
    // What came so far is better than nothing.
  }
  return text;
}

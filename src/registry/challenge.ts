/** WWW-Authenticate: schemes and their parameters. Source: RFC 9110 §11.6.1; distribution's token specification. */

export interface Challenge {
  /** Lower-case. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** All challenges of a header; nonsense gives none. */
export function parseChallenges(header: string | readonly string[] | undefined): readonly Challenge[] {
  const texts = header === undefined ? [] : typeof header === 'string' ? [header] : header;
  return texts.flatMap(parseOne);
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/;

function parseOne(text: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let rest = text.trim();
  while (rest !== '') {
    const name = TOKEN.exec(rest)?.[0];
    if (name === undefined) return challenges;
    rest = rest.slice(name.length);
    const value = /^\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/.exec(rest);
    if (value === null) challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
    else {
      challenges
        .at(-1)
        ?.parameters.set(name.toLowerCase(), (value[1] ?? value[2] ?? '').replace(/\\(.)/g, '$1'));
      rest = rest.slice(value[0].length);
    }
    rest = rest.replace(/^[\s,]+/, '');
  }
  return challenges;
}

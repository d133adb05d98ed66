/** `key=value,key,…` of --mount and its like: a line of CSV, so that a quoted field may hold commas. */

/** undefined where a quote is not closed, or stands inside of a field that does not begin with one. */
export function splitFields(text: string): readonly string[] | undefined {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      const { value, end } = takeQuoted(text, at + 1);
      if (value === undefined) return undefined;
      fields.push(value);
      at = end;
    } else {
      const comma = text.indexOf(',', at);
      const end = comma < 0 ? text.length : comma;
      const value = text.slice(at, end);
      if (value.includes('"')) return undefined;
      fields.push(value);
      at = end;
    }
    if (at >= text.length) return fields;
    if (text[at] !== ',') return undefined;
    at += 1;
  }
}

function takeQuoted(
  text: string,
  start: number,
): { readonly value: string | undefined; readonly end: number } {
  let value = '';
  for (let at = start; at < text.length; at += 1) {
    if (text[at] !== '"') value += text[at] ?? '';
    else if (text[at + 1] === '"') {
      value += '"';
      at += 1;
    } else return { value, end: at + 1 };
  }
  return { value: undefined, end: text.length };
}

/** Before and after the first `=`; the value is undefined where there is none. */
export function splitPair(text: string): readonly [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** As Go's strconv.ParseBool. */
export function parseBoolean(text: string): boolean | undefined {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true;
  return /^(?:0|f|F|false|FALSE|False)$/.test(text) ? false : undefined;
}

/** An absolute path without `.`, `..` and double slashes; undefined for one that is not absolute. */
export function cleanPath(path: string): string | undefined {
  if (!path.startsWith('/') || path.includes('\0')) return undefined;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** JSON as values: one type for what was parsed, one canonical text for what is digested. */

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };
export type JsonObject = { readonly [key: string]: Json | undefined };

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One text per value: keys sorted by UTF-16 code units, no white space, undefined members left out. */
export function canonicalJson(value: Json | undefined): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    // Lists of strings (environments, arguments) are most of what is digested: they are written at once.
    if (items.every((item) => typeof item === 'string')) return JSON.stringify(items);
    return `[${items.map(canonicalJson).join(',')}]`;
  }
  const object = value as JsonObject;
  let members = '';
  for (const key of Object.keys(object).sort()) {
    const member = object[key];
    if (member === undefined) continue;
    members += `${members === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

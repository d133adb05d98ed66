/**
 * Secrets in what a step prints: struck out, also where they are encoded in a way that a command of one word makes.
 *
 * The value itself and each of its longer lines; base64 (both alphabets, at any offset), hexadecimal, URL and JSON
 * escapes of them. What may be the beginning of a secret is held back until more is known, so that a value that
 * comes in two pieces is seen.
 */

export interface Mask {
  /** What may be shown now. */
  push(data: Uint8Array): Buffer;
  /** What was held back. */
  end(): Buffer;
}

const STARS = '****';
/** Shorter texts are not told from chance. */
const SHORTEST = 3;
const SHORTEST_LINE = 8;

/** Forms in which a value may be printed, longest first. */
export function formsOf(secret: Uint8Array): readonly string[] {
  const value = Buffer.from(secret);
  const whole = value.toString('latin1').replace(/[\r\n]+$/, '');
  const lines = whole.split(/\r?\n/).filter((line) => line.length >= SHORTEST_LINE);
  const forms = new Set<string>();
  for (const text of new Set([value.toString('latin1'), whole, ...lines])) {
    if (text.length < SHORTEST) continue;
    forms.add(text);
    if (text.length < SHORTEST_LINE) continue;
    for (const encoded of encodings(Buffer.from(text, 'latin1'))) forms.add(encoded);
  }
  return [...forms].sort((a, b) => b.length - a.length);
}

function encodings(bytes: Buffer): readonly string[] {
  const utf8 = bytes.toString('utf8');
  return [
    ...[0, 1, 2].flatMap((shift) => alignedBase64(bytes, shift)),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    Buffer.from(encodeURIComponent(utf8)).toString('latin1'),
    Buffer.from(JSON.stringify(utf8).slice(1, -1)).toString('latin1'),
    Buffer.from([...bytes].reverse()).toString('latin1'),
  ].filter((text) => text.length >= SHORTEST_LINE);
}

/** The characters of a base64 text that depend on the value alone, wherever in it the value begins. */
function alignedBase64(bytes: Buffer, shift: number): readonly string[] {
  const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
  const from = shift === 0 ? 0 : shift + 1;
  const inner = text.slice(from, Math.floor(((shift + bytes.length) * 8) / 6));
  return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
}

export function createMask(secrets: readonly Uint8Array[]): Mask {
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((a, b) => b.length - a.length);
  const longest = forms[0]?.length ?? 0;
  const expression =
    forms.length === 0
      ? undefined
      : new RegExp(forms.map((form) => form.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g');
  let held = '';

  return {
    push(data) {
      if (expression === undefined) return Buffer.from(data);
      const text = (held + Buffer.from(data).toString('latin1')).replace(expression, STARS);
      const keep = beginningAtEnd(text, forms, longest);
      held = text.slice(text.length - keep);
      return Buffer.from(text.slice(0, text.length - keep), 'latin1');
    },
    end() {
      const rest = held;
      held = '';
      return Buffer.from(rest, 'latin1');
    },
  };
}

/** Length of the longest end of `text` with which a form begins. */
function beginningAtEnd(text: string, forms: readonly string[], longest: number): number {
  for (let length = Math.min(longest - 1, text.length); length > 0; length -= 1) {
    const end = text.slice(text.length - length);
    if (forms.some((form) => form.length > length && form.startsWith(end))) return length;
  }
  return 0;
}

/** Whether bytes hold one of the secrets as it is; for layers, where an encoding is somebody's intention. */
export async function holdsSecret(
  stream: AsyncIterable<Uint8Array>,
  secrets: readonly Uint8Array[],
): Promise<boolean> {
  const wanted = secrets
    .map((secret) =>
      Buffer.from(
        Buffer.from(secret)
          .toString('latin1')
          .replace(/[\r\n]+$/, ''),
        'latin1',
      ),
    )
    .filter((secret) => secret.length >= SHORTEST_LINE);
  const overlap = Math.max(0, ...wanted.map((secret) => secret.length - 1));
  if (wanted.length === 0) return false;
  let before = Buffer.alloc(0);
  for await (const chunk of stream) {
    const block = Buffer.concat([before, chunk]);
    if (wanted.some((secret) => block.includes(secret))) return true;
    before = Buffer.from(block.subarray(Math.max(0, block.length - overlap)));
  }
  return false;
}

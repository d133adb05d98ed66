/**
 * Secrets in what a step prints: struck out, also where they are encoded in a way that a command of one word makes.
 *
 * The value itself and each of its longer lines; base64 (both alphabets, at any offset), hexadecimal, URL and JSON
 * escapes of them, and all of these with blanks or line breaks in between. What may be the beginning of a secret is
 * held back until more is known, so that a value that comes in two pieces is seen.
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

/**
 * Texts to look for. A key of fifty lines has hundreds of forms, and every line of output is looked through for all
 * of them: they are found by their first characters.
 */
interface Wanted {
  /** Forms by their first HEAD characters, longest first. */
  readonly byHead: ReadonlyMap<string, readonly string[]>;
  /** Shorter beginnings of forms. */
  readonly beginnings: ReadonlySet<string>;
  readonly longest: number;
}

const HEAD = SHORTEST;

function wantedOf(texts: readonly string[]): Wanted | undefined {
  const forms = [...new Set(texts)].sort((a, b) => b.length - a.length);
  const longest = forms[0]?.length ?? 0;
  if (longest === 0) return undefined;
  const byHead = new Map<string, string[]>();
  const beginnings = new Set<string>();
  for (const form of forms) {
    const head = form.slice(0, HEAD);
    const others = byHead.get(head);
    if (others === undefined) byHead.set(head, [form]);
    else others.push(form);
    for (let length = 1; length < HEAD; length += 1) beginnings.add(head.slice(0, length));
  }
  return { byHead, beginnings, longest };
}

const BLANKS = /[\t-\r ]+/g;
/** More blanks than that are not held back between two pieces of a secret. */
const MAX_BLANKS = 4096;
/** Fewer characters at the end of a line are not held back: chance would delay too many lines. */
const SHORTEST_WRAPPED = 3;

export function createMask(secrets: readonly Uint8Array[]): Mask {
  const forms = secrets.flatMap(formsOf);
  const plain = wantedOf(forms);
  const wrapped = wantedOf(
    forms.map((form) => form.replace(BLANKS, '')).filter((form) => form.length >= SHORTEST_LINE),
  );
  let held = '';

  /** What may be shown of `given`; what begins after `until` is held. */
  function take(given: string, until: number): Buffer {
    const ranges = [...rangesOf(given, plain), ...wrappedRanges(given, wrapped)];
    let shown = '';
    let at = 0;
    for (const { from, to } of ranges.sort((x, y) => x.from - y.from)) {
      if (from >= Math.max(at, until)) break;
      if (from >= at) shown += given.slice(at, from) + STARS;
      at = Math.max(at, to);
    }
    shown += given.slice(at, Math.max(at, until));
    held = given.slice(Math.max(at, until));
    return Buffer.from(shown, 'latin1');
  }

  return {
    push(data) {
      if (plain === undefined) return Buffer.from(data);
      const given = held + Buffer.from(data).toString('latin1');
      return take(given, given.length - Math.max(beginningAtEnd(given, plain), wrappedAtEnd(given, wrapped)));
    },
    end: () => take(held, held.length),
  };
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function rangesOf(text: string, wanted: Wanted | undefined): readonly Range[] {
  if (wanted === undefined) return [];
  const ranges: Range[] = [];
  for (let at = 0; at + HEAD <= text.length; at += 1) {
    const found = wanted.byHead.get(text.slice(at, at + HEAD))?.find((form) => text.startsWith(form, at));
    if (found === undefined) continue;
    ranges.push({ from: at, to: at + found.length });
    at += found.length - 1;
  }
  return ranges;
}

/** What shows when blanks are taken away: `base64` and `xxd` break lines, `fold` breaks anything. */
function wrappedRanges(text: string, wrapped: Wanted | undefined): readonly Range[] {
  const dense = text.replace(BLANKS, '');
  if (dense.length === text.length) return [];
  const ranges = rangesOf(dense, wrapped);
  if (ranges.length === 0) return [];
  const offsets = [...text.matchAll(/[^\t-\r ]/g)].map(({ index }) => index);
  return ranges.map(({ from, to }) => ({ from: offsets[from] ?? 0, to: (offsets[to - 1] ?? 0) + 1 }));
}

/** Length of the longest end of `text` with which a form begins. */
function beginningAtEnd(text: string, { byHead, beginnings, longest }: Wanted): number {
  for (let at = Math.max(0, text.length - longest + 1); at < text.length; at += 1) {
    const rest = text.length - at;
    const head = text.slice(at, at + HEAD);
    const isBeginning =
      rest < HEAD
        ? beginnings.has(head)
        : byHead.get(head)?.some((form) => form.length > rest && form.startsWith(text.slice(at))) === true;
    if (isBeginning) return rest;
  }
  return 0;
}

/** As beginningAtEnd, with blanks between. */
function wrappedAtEnd(text: string, wrapped: Wanted | undefined): number {
  if (wrapped === undefined) return 0;
  const end = text.slice(-(wrapped.longest + MAX_BLANKS));
  let missing = beginningAtEnd(end.replace(BLANKS, ''), wrapped);
  if (missing < SHORTEST_WRAPPED) return 0;
  let length = 0;
  while (missing > 0) {
    length += 1;
    if (!/[\t-\r ]/.test(end.charAt(end.length - length))) missing -= 1;
  }
  return length;
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

/**
 * Byte strings: file names as Linux has them.
 *
 * A name on Linux is bytes, not text. Between the modules that touch file systems and tars a name is a string
 * with one character (U+0000 to U+00FF) per byte, so that nothing is lost and comparison is by bytes.
 * ASCII names are the same in both forms, which keeps the common case free of conversions.
 */
export type ByteString = string;

const NON_ASCII = /[^\u0000-\u007f]/;

export function isAscii(text: string): boolean {
  return !NON_ASCII.test(text);
}

/** From text (UTF-16, e.g. of a Dockerfile) to the bytes of its UTF-8 form. */
export function toByteString(text: string): ByteString {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** To text for people; bytes that are no UTF-8 become U+FFFD. */
export function toText(name: ByteString): string {
  return isAscii(name) ? name : Buffer.from(name, 'latin1').toString('utf8');
}

/** What Node's fs functions take for `prefix` (text) followed by `name` (bytes). */
export function fsPath(prefix: string, name: ByteString): string | Buffer {
  return isAscii(name)
    ? prefix + name
    : Buffer.concat([Buffer.from(prefix, 'utf8'), Buffer.from(name, 'latin1')]);
}

/** Order of bytes; the order of entries in a layer. */
export function compareBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

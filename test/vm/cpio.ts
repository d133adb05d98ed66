/** An initial RAM file system, as the kernel unpacks it: cpio in its "newc" form. Spec: buffer-format.rst. */

export interface CpioEntry {
  readonly path: string;
  /** Type and rights, as in stat. */
  readonly mode: number;
  readonly content?: Uint8Array;
  readonly device?: { readonly major: number; readonly minor: number };
}

export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  return Buffer.concat(
    [...entries, { path: 'TRAILER!!!', mode: 0 }].flatMap((entry, index) => record(entry, index + 1)),
  );
}

function record({ path, mode, content = new Uint8Array(), device }: CpioEntry, inode: number): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const fields = [
    inode,
    mode,
    0,
    0,
    1,
    0,
    content.byteLength,
    0,
    0,
    device?.major ?? 0,
    device?.minor ?? 0,
    name.byteLength,
    0,
  ];
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [padded(Buffer.concat([head, name])), padded(content)];
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.byteLength % 4)) % 4)]);
}

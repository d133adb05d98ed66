/** The few instructions of eBPF that device programs consist of, executed on a context of 32-bit words. */
export function interpret(program: Uint8Array, context: readonly number[]): number {
  const code = Buffer.from(program);
  const registers = new Array<number>(11).fill(0);
  for (let at = 0; at * 8 < code.length; at += 1) {
    const op = code.readUInt8(8 * at);
    const to = code.readUInt8(8 * at + 1) & 15;
    const from = code.readUInt8(8 * at + 1) >> 4;
    const offset = code.readInt16LE(8 * at + 2);
    const value = code.readInt32LE(8 * at + 4);
    const left = registers[to] ?? 0;
    switch (op) {
      case 0x61:
        registers[to] = (context[offset / 4] ?? 0) >>> 0;
        break;
      case 0xbf:
        registers[to] = registers[from] ?? 0;
        break;
      case 0xb7:
        registers[to] = value;
        break;
      case 0x54:
        registers[to] = (left & value) >>> 0;
        break;
      case 0x74:
        registers[to] = left >>> value;
        break;
      case 0x05:
        at += offset;
        break;
      case 0x16:
        if (left >>> 0 === value >>> 0) at += offset;
        break;
      case 0x56:
        if (left >>> 0 !== value >>> 0) at += offset;
        break;
      case 0x95:
        return registers[0] ?? 0;
      default:
        throw new Error(`instruction ${op.toString(16)} at ${at}`);
    }
  }
  throw new Error('the program does not end');
}

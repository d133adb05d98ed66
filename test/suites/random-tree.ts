/** Trees with everything in them that a file system can hold, the same for the same seed. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lchownSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { fsPath, type ByteString } from '../../src/base/byte-string.ts';
import { makeNode, setXattr } from '../../native/sys.ts';

/** A small generator of numbers (xorshift); `below(n)` gives 0 to n - 1. */
export interface Random {
  below(limit: number): number;
}

export function createRandom(seed: number): Random {
  let state = (seed * 2654435761) >>> 0 || 1;
  return {
    below(limit) {
      state ^= state << 13;
      state >>>= 0;
      state ^= state >>> 17;
      state ^= state << 5;
      state >>>= 0;
      return state % limit;
    },
  };
}

const ODD: readonly ByteString[] = [
  'a',
  'a.b',
  'a-b',
  'a b',
  'ä'.normalize(),
  'Ã¤',
  '\u0080\u00ff',
  'new\nline',
  '\\',
  '"quoted"',
  '~',
  '.hidden',
  '...',
  'x'.repeat(100),
  'y'.repeat(255),
  '*',
  '-rf',
];

function nameOf(random: Random, index: number): ByteString {
  const odd = ODD[random.below(ODD.length * 2)];
  return odd === undefined || random.below(3) === 0 ? `name-${random.below(40)}-${index}` : odd;
}

/** Fills the directory `root` (text); returns the paths of what was made, directories excluded. */
export function makeRandomTree(root: string, random: Random, entries = 60): readonly ByteString[] {
  const directories: ByteString[] = [''];
  const taken = new Set<ByteString>();
  const files: ByteString[] = [];
  const at = (path: ByteString): string | Buffer => fsPath(`${root}/`, path);
  for (let index = 0; index < entries; index += 1) {
    const holder = directories[random.below(directories.length)] ?? '';
    const name = nameOf(random, index);
    const path = holder === '' ? name : `${holder}/${name}`;
    if (taken.has(path)) continue;
    taken.add(path);
    if (random.below(4) === 0) {
      mkdirSync(at(path));
      chmodSync(at(path), [0o755, 0o700, 0o1777, 0o2755][random.below(4)] ?? 0o755);
      directories.push(path);
      continue;
    }
    if (makeEntry(at, path, random, files)) files.push(path);
  }
  for (const [index, path] of directories.entries())
    if (path !== '') utimesSync(at(path), 1_600_000_000 + index, 1_600_000_000 + index);
  return files;
}

/** true where it is a regular file with a name of its own. */
function makeEntry(
  at: (path: ByteString) => string | Buffer,
  path: ByteString,
  random: Random,
  files: readonly ByteString[],
): boolean {
  const place = at(path);
  switch (random.below(12)) {
    case 0:
      symlinkSync(['target', '../up', '/absolute', 'x'.repeat(200)][random.below(4)] ?? '', place);
      lchownSync(place, random.below(3), random.below(3));
      return false;
    case 1: {
      const other = files[random.below(Math.max(1, files.length))];
      if (other === undefined) return false;
      linkSync(at(other), place);
      return false;
    }
    case 2:
      makeNode(
        place,
        (['fifo', 'char', 'block'] as const)[random.below(3)] ?? 'fifo',
        0o640,
        7,
        random.below(300),
      );
      return false;
    case 3: {
      const fd = openSync(place, 'w');
      ftruncateSync(fd, 1 << 20);
      writeSync(fd, 'in the middle of nothing', 70_000);
      closeSync(fd);
      break;
    }
    default:
      writeFileSync(place, Buffer.alloc(sizeOf(random), `${path} ${random.below(1000)}`));
  }
  chmodSync(place, [0o644, 0o755, 0o4755, 0o600][random.below(4)] ?? 0o644);
  lchownSync(place, random.below(2) * 1000, random.below(2) * 70_000);
  if (random.below(6) === 0)
    setXattr(place, 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  const time = [0, 1, 1_500_000_000, 1_700_000_000.123][random.below(4)] ?? 0;
  utimesSync(place, time, time);
  return true;
}

function sizeOf(random: Random): number {
  return [0, 1, 511, 512, 513, 4096, 70_000][random.below(7)] ?? 0;
}

/** A socket cannot be made by Node without listening to it. */
export function makeSocket(path: string): void {
  execFileSync('python3', ['-c', 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', path]);
}

/**
 * `npm run fuzz:native -- SECONDS [TARGET…]`: every parser of the native parts, under libFuzzer with AddressSanitizer
 * and UndefinedBehaviorSanitizer, SECONDS each. What makes one fail is kept in native/build/fuzz. Needs clang.
 */
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';
import { buildFuzzers, FUZZ_TARGETS, isFuzzTarget, runFuzzer } from './native-fuzzers.ts';

const [seconds = '', ...names] = process.argv.slice(2);
if (!/^[1-9]\d*$/.test(seconds) || !names.every(isFuzzTarget)) {
  console.error(`usage: npm run fuzz:native -- SECONDS [${FUZZ_TARGETS.join('|')}…]`);
  process.exit(2);
}
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const output = join(root, 'native', 'build', 'fuzz');
buildFuzzers(root, output);
for (const name of names.length === 0 ? FUZZ_TARGETS : names.filter(isFuzzTarget)) {
  const { runs, complaint } = runFuzzer(output, name, [`-max_total_time=${seconds}`]);
  console.log(`${name}: ${complaint === undefined ? `${runs} runs, nothing found` : complaint}`);
  if (complaint !== undefined) process.exitCode = 1;
}

/** `npm run chaos -- [ROUNDS [SEED]]`: pushes and pulls through faults, from a seed. Exit code 1 where one is wrong. */
import { runChaos } from '../test/registry/chaos.ts';

const [rounds = '1000', seed = '1'] = process.argv.slice(2);
const started = Date.now();
const report = await runChaos(Number(rounds), Number(seed));
console.log(JSON.stringify({ ...report, seconds: (Date.now() - started) / 1000 }, null, 2));
process.exitCode = report.wrong.length === 0 ? 0 : 1;

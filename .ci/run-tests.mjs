// Runs files of tests as `node --test` does, in the order in which they are named: CONCURRENCY FILE…
// why: `node --test` sorts them by name, and a long file that begins last keeps one processor waiting for it.
import { resolve } from 'node:path';
import process from 'node:process';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';

const [concurrency, ...names] = process.argv.slice(2);
const files = [...new Set(names.map((name) => resolve(name)))];
const results = run({ files, concurrency: Number(concurrency), timeout: 300_000 });
results.on('test:fail', () => {
  process.exitCode = 1;
});
results.compose(new Spec()).pipe(process.stdout);

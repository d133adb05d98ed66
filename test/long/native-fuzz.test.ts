/** A short run of every fuzz target; `npm run fuzz:native -- SECONDS` is the long one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildFuzzers, FUZZ_TARGETS, hasClang, runFuzzer } from '../../bench/native-fuzzers.ts';
import { packageRoot } from '../e2e/fixture.ts';

/** These call the kernel, or allocate as a whole job does. */
const SLOW: ReadonlySet<string> = new Set(['names', 'clients', 'requests', 'index', 'inflate']);

describe('fuzzing the native parsers', { skip: hasClang() ? false : 'clang is not installed' }, () => {
  let output: string;
  before(() => {
    output = mkdtempSync(join(tmpdir(), 'tsbuild-fuzz-'));
    buildFuzzers(packageRoot(), output);
  });
  after(() => rmSync(output, { recursive: true, force: true }));

  for (const name of FUZZ_TARGETS) {
    const wanted = SLOW.has(name) ? 5_000 : 50_000;
    test(`${wanted} inputs do no harm to: ${name}`, () => {
      const { runs, complaint } = runFuzzer(output, name, [`-runs=${wanted}`, '-seed=1']);
      assert.equal(complaint, undefined);
      assert.ok(runs >= wanted, `${runs} runs`);
    });
  }
});

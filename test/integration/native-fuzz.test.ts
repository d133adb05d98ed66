/** A short run of every fuzz target; `npm run fuzz:native -- SECONDS` is the long one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildFuzzers, FUZZ_TARGETS, hasClang, runFuzzer } from '../../bench/native-fuzzers.ts';
import { packageRoot } from '../e2e/fixture.ts';

describe('fuzzing the native parsers', { skip: hasClang() ? false : 'clang is not installed' }, () => {
  let output: string;
  before(() => {
    output = mkdtempSync(join(tmpdir(), 'tsbuild-fuzz-'));
    buildFuzzers(packageRoot(), output);
  });
  after(() => rmSync(output, { recursive: true, force: true }));

  for (const name of FUZZ_TARGETS)
    test(`50,000 inputs do no harm to: ${name}`, () => {
      const { runs, complaint } = runFuzzer(output, name, ['-runs=50000', '-seed=1']);
      assert.equal(complaint, undefined);
      assert.ok(runs >= 50_000, `${runs} runs`);
    });
});

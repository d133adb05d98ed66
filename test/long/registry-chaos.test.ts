/** A hundred rounds of chaos; `npm run chaos -- ROUNDS SEED` runs more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runChaos } from '../registry/chaos.ts';

test('C11 C12: an image gets through whatever passes, and says rightly what does not', async () => {
  const report = await runChaos(60, 7);
  assert.deepEqual(report.wrong, []);
  assert.ok(report.faults > 100, String(report.faults));
  // One blob at most, the largest of which has 300,000 bytes, is sent again for a fault.
  assert.ok(report.mostResent <= 300_000, String(report.mostResent));
});

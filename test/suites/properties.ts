/**
 * fast-check with one seed: a change is refused for what it does, and not because chance found today what was there for
 * long. With TSBUILD_SEED=random, as `npm run test:long` has it, each run looks elsewhere.
 */
import { configureGlobal, readConfigureGlobal } from 'fast-check';

if (process.env['TSBUILD_SEED'] !== 'random') configureGlobal({ ...readConfigureGlobal(), seed: 20_261_126 });

export { default } from 'fast-check';

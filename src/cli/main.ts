/** The program `tsbuild`. */
import { program } from './program.ts';

// why: the program ships as CommonJS, which has no await at its top level.
void program(process.argv.slice(2));

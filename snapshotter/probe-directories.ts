/** What an overlay is tried with. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

export interface ProbeDirectories {
  readonly lower: string;
  readonly upper: string;
  readonly work: string;
}

/** Makes them, empty, in `directory`, which the caller removes. */
export function makeProbeDirectories(directory: string): ProbeDirectories {
  const at = (name: string): string => join(directory, name);
  const made = { lower: at('lower'), upper: at('upper'), work: at('work') };
  for (const path of Object.values(made)) mkdirSync(path, { recursive: true });
  return made;
}

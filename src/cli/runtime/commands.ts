/** The commands of the OCI runtime: what each is called, which options it has, what it does. */
import { CREATE, DELETE, KILL, MOUNTS, PAUSE, RESUME, RUN, START, STATE } from './lifecycle-commands.ts';
import { EXEC } from './exec-command.ts';
import { EVENTS, FEATURES, LIST, PS, SPEC } from './inspect-commands.ts';
import { UPDATE } from './update-command.ts';
import type { Command } from './command.ts';

export const COMMANDS: readonly Command[] = [
  ...[CREATE, DELETE, EVENTS, EXEC, FEATURES, KILL, LIST, MOUNTS, PAUSE],
  ...[PS, RESUME, RUN, SPEC, START, STATE, UPDATE],
];

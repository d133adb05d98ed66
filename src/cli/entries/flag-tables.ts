/** Flags that several commands have. */
import type { FlagTable } from '../flags.ts';

export const FORMAT: FlagTable = {
  format: { kind: 'text', value: 'FORMAT', help: 'json, table, table TEMPLATE, or a Go template' },
};
/** Of inspect, with docker's letter. */
export const INSPECT_FORMAT: FlagTable = {
  format: { kind: 'text', short: 'f', value: 'FORMAT', help: 'json, or a Go template' },
};
export const FILTER: FlagTable = {
  filter: { kind: 'list', short: 'f', value: 'KEY=VALUE', help: 'show only what matches' },
};
export const QUIET_NAMES: FlagTable = {
  quiet: { kind: 'boolean', short: 'q', help: 'names or ids only' },
};
export const PROGRESS: FlagTable = {
  progress: { kind: 'text', value: 'MODE', help: 'auto, plain, tty, json or quiet' },
  quiet: { kind: 'boolean', short: 'q', help: 'print as little as possible' },
};
export const PLATFORM: FlagTable = {
  platform: { kind: 'text', value: 'OS/ARCH', help: 'platform to choose' },
};

export const MANY = Number.POSITIVE_INFINITY;

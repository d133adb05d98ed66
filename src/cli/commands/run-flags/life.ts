/** What a container's life follows: `--restart`, `--health-*`, `--stop-*`, `--log-*`. Source: docker/cli, opts and container/opts.go. */
import type { LogChoice } from '../../../runtime/container.ts';
import type { HealthOptions } from '../../../runtime/container-options.ts';
import { parseSignalText, type Signal } from '../../../runtime/signals.ts';
import { badFlag, badFlags } from './bad-flag.ts';
import { splitPair } from './fields.ts';
import { parseBytes, parseDuration, parseInteger } from './numbers.ts';

export type RestartRequest =
  | { readonly name: 'no' | 'always' | 'unless-stopped' }
  /** 0: without an end. */
  | { readonly name: 'on-failure'; readonly maximumRetries: number };

/** `no`, `always`, `unless-stopped`, `on-failure[:N]`. Throws USAGE. */
export function parseRestart(text: string | undefined): RestartRequest {
  const [name = '', count, ...more] = (text ?? 'no').split(':');
  const fail = (reason: string): never => {
    throw badFlags(`invalid restart policy: ${reason}`, 'use no, always, unless-stopped or on-failure[:N]');
  };
  if (more.length > 0) return fail(`invalid format: '${text ?? ''}'`);
  if (name === 'on-failure') {
    const retries = count === undefined ? 0 : parseInteger(count, { signed: true });
    if (retries === undefined) return fail('maximum retry count must be an integer');
    return retries < 0 ? fail('maximum retry count cannot be negative') : { name, maximumRetries: retries };
  }
  if (name !== 'no' && name !== '' && name !== 'always' && name !== 'unless-stopped')
    return fail(`unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`);
  if (count !== undefined) return fail("maximum retry count can only be used with 'on-failure'");
  return { name: name === '' ? 'no' : name };
}

/** `TERM`, `SIGTERM`, `15`. Throws USAGE. */
export function parseSignal(flag: string, text: string): Signal {
  const signal = parseSignalText(text);
  if (signal === undefined) throw badFlag(flag, text, `invalid signal: ${text}`, 'write e.g. SIGTERM or 15');
  return signal;
}

/** Seconds; -1: for ever. Throws USAGE. */
export function parseStopTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = parseInteger(text, { signed: true });
  if (seconds === undefined)
    throw badFlag(
      '--stop-timeout',
      text,
      `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  return Math.max(-1, seconds);
}

export interface HealthFlags {
  text(name: string): string | undefined;
  boolean(name: string): boolean;
}

/** undefined: the image's own, as it is. Throws USAGE. */
export function parseHealth(flags: HealthFlags): HealthOptions | undefined {
  const duration = (name: string): number | undefined => {
    const text = flags.text(name);
    if (text === undefined) return undefined;
    const nanoseconds = parseDuration(text);
    if (nanoseconds === undefined)
      throw badFlag(`--${name}`, text, `time: invalid duration ${JSON.stringify(text)}`, 'write e.g. 30s');
    if (nanoseconds < 0) throw badFlags(`--${name} cannot be negative`);
    if (nanoseconds > 0 && nanoseconds < 1e6) throw badFlags(`--${name} cannot be less than 1ms`);
    return nanoseconds / 1e6;
  };
  const retriesText = flags.text('health-retries');
  const retries = retriesText === undefined ? undefined : parseInteger(retriesText, { signed: true });
  if (retriesText !== undefined && (retries === undefined || retries < 0))
    throw badFlags('--health-retries cannot be negative');
  const given = {
    command: flags.text('health-cmd'),
    intervalMs: duration('health-interval'),
    timeoutMs: duration('health-timeout'),
    startPeriodMs: duration('health-start-period'),
    startIntervalMs: duration('health-start-interval'),
    retries,
  };
  const present = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Partial<HealthOptions>;
  const none = flags.boolean('no-healthcheck');
  if (none && Object.keys(present).length > 0)
    throw badFlags('--no-healthcheck conflicts with --health-* options');
  return none || Object.keys(present).length > 0 ? { ...present, none } : undefined;
}

/** `--log-driver`, `--log-opt max-size=10m`, `max-file=3`. Throws USAGE. */
export function parseLog(driver: string | undefined, options: readonly string[]): Partial<LogChoice> {
  if (driver !== undefined && !['json-file', 'local', 'k8s-file', 'none'].includes(driver))
    throw badFlag(
      '--log-driver',
      driver,
      `logger: no log driver named '${driver}' is registered`,
      'use json-file or none',
    );
  if (driver === 'none' && options.length > 0) throw badFlags('invalid logging opts for driver none');
  let log: Partial<LogChoice> = { driver: driver === 'none' ? 'none' : 'json-file' };
  for (const text of options) {
    const [key, value = ''] = splitPair(text);
    const size = key === 'max-size' ? parseBytes(value) : undefined;
    const files = key === 'max-file' ? parseInteger(value, { signed: false }) : undefined;
    if (size !== undefined && size > 0) log = { ...log, maxSize: size };
    else if (files !== undefined && files > 0) log = { ...log, maxFiles: files };
    else if (!['compress', 'mode', 'max-buffer-size', 'tag', 'labels', 'env'].includes(key))
      throw badFlag(
        '--log-opt',
        text,
        `unknown log opt '${key}' for json-file log driver`,
        'use max-size=SIZE or max-file=N',
      );
  }
  return log;
}

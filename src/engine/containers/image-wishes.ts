/** What an image and a request make together: command, environment, health check, stop signal. Pure. */
import { TsbuildError } from '../../base/errors.ts';
import type { Healthcheck, ImageConfig, RunConfig } from '../../oci/documents.ts';
import type { HealthOptions } from '../../runtime/container-options.ts';
import type { HealthCheck } from '../../runtime/container.ts';
import { parseSignalText, type Signal } from '../../runtime/signals.ts';
import type { CreateRequest } from './request.ts';

/** As docker has them. */
const HEALTH_DEFAULTS = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  startPeriodMs: 0,
  startIntervalMs: 5000,
  retries: 3,
};
const NS_PER_MS = 1e6;

export interface Command {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
}

/** Throws SPEC_INVALID where there is nothing to run. */
export function commandOf(
  { entrypoint, command }: Pick<CreateRequest, 'entrypoint' | 'command'>,
  { config }: ImageConfig,
): Command {
  const chosen: Command =
    entrypoint === undefined
      ? {
          entrypoint: config.Entrypoint ?? [],
          command: command.length > 0 ? command : (config.Cmd ?? []),
        }
      : { entrypoint, command };
  if (chosen.entrypoint.length + chosen.command.length > 0) return chosen;
  throw new TsbuildError(
    'SPEC_INVALID',
    'there is no command to run: the image has neither CMD nor ENTRYPOINT',
    { hint: 'name one after the image' },
  );
}

/** Later entries win, and stand where the first of their name stood; a name alone takes it away. */
export function mergeEnv(base: readonly string[], more: readonly string[]): readonly string[] {
  const merged = new Map(base.map((entry) => [entry.split('=', 1)[0] ?? '', entry]));
  for (const entry of more)
    if (entry.includes('=')) merged.set(entry.slice(0, entry.indexOf('=')), entry);
    else merged.delete(entry);
  return [...merged.values()];
}

/** STOPSIGNAL may be a name or a number; what is neither is SIGTERM, as an image cannot be asked again. */
export function stopSignalOf(asked: Signal | undefined, { StopSignal = '' }: RunConfig): Signal {
  return asked ?? parseSignalText(StopSignal) ?? 'SIGTERM';
}

/** undefined: no check. Flags go before the image's HEALTHCHECK, one by one. */
export function healthCheckOf(
  asked: HealthOptions | undefined,
  { Healthcheck: image, Shell }: RunConfig,
): HealthCheck | undefined {
  if (asked?.none === true) return undefined;
  const args =
    asked?.command === undefined
      ? testOf(image, Shell ?? ['/bin/sh', '-c'])
      : ['/bin/sh', '-c', asked.command];
  if (args === undefined) return undefined;
  const own = {
    intervalMs: timeOf(image?.Interval),
    timeoutMs: timeOf(image?.Timeout),
    startPeriodMs: timeOf(image?.StartPeriod),
    startIntervalMs: timeOf(image?.StartInterval),
    retries: image?.Retries === 0 ? undefined : image?.Retries,
  };
  const given = { ...defined(own), ...defined(asked ?? {}) };
  const pick = (key: keyof typeof HEALTH_DEFAULTS): number => {
    const value = given[key];
    return typeof value === 'number' && (value > 0 || key === 'startPeriodMs') ? value : HEALTH_DEFAULTS[key];
  };
  return {
    args,
    intervalMs: pick('intervalMs'),
    timeoutMs: pick('timeoutMs'),
    startPeriodMs: pick('startPeriodMs'),
    startIntervalMs: pick('startIntervalMs'),
    retries: pick('retries'),
  };
}

function testOf(image: Healthcheck | undefined, shell: readonly string[]): readonly string[] | undefined {
  const [kind, ...words] = image?.Test ?? [];
  if (kind === 'CMD-SHELL') return [...shell, ...words];
  return kind === 'CMD' && words.length > 0 ? words : undefined;
}

function timeOf(nanoseconds: number | undefined): number | undefined {
  return nanoseconds === undefined || nanoseconds === 0 ? undefined : nanoseconds / NS_PER_MS;
}

function defined(value: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));
}

/**
 * How layers are compressed: `--compression TYPE[,LEVEL]`, buildah's `--compression-format`, `--compression-level` and
 * `--force-compression`, and the attributes `compression`, `compression-level` and `force-compression` of --output.
 */
import { TsbuildError } from '../../base/errors.ts';
import { suggest } from '../../base/suggest.ts';
import { LEVELS, type LayerForm } from '../../layer/layer-form.ts';
import type { ParsedFlags } from '../flags.ts';

const TYPES = ['gzip', 'zstd', 'uncompressed'] as const;

interface Words {
  readonly type: string | undefined;
  readonly level: string | undefined;
  readonly force: boolean;
  /** What the words were written to: `--output "type=oci,…"`. */
  readonly where: string;
}

/** undefined where the command line says nothing about it. */
export function readCompressionFlags(flags: ParsedFlags): LayerForm | undefined {
  const [type, inline] = (flags.text('compression') ?? '').split(',', 2);
  const format = flags.text('compression-format');
  if (type !== '' && format !== undefined && format !== type)
    throw new TsbuildError('USAGE', '--compression and --compression-format say different things', {
      hint: 'give one of them',
    });
  return formOf({
    type: type === '' ? format : type,
    level: inline ?? flags.text('compression-level'),
    force: flags.boolean('force-compression'),
    where: `--compression ${JSON.stringify(flags.text('compression') ?? format ?? '')}`,
  });
}

/** Of --output and --cache-to; `fallback`: what the flags say. */
export function readCompressionFields<F extends LayerForm | undefined>(
  fields: ReadonlyMap<string, string>,
  where: string,
  fallback: F,
): LayerForm | F {
  return (
    formOf({
      type: fields.get('compression'),
      level: fields.get('compression-level'),
      force: /^(1|true)$/.test(fields.get('force-compression') ?? ''),
      where,
    }) ?? fallback
  );
}

function formOf({ type, level, force, where }: Words): LayerForm | undefined {
  if (type === undefined && level === undefined && !force) return undefined;
  const compression = TYPES.find((each) => each === (type ?? 'gzip'));
  const fail = (message: string, hint: string): TsbuildError =>
    new TsbuildError('USAGE', `invalid ${where}: ${message}`, { hint });
  if (compression === undefined) {
    const near = suggest(type ?? '', TYPES);
    throw fail(
      `unknown compression ${JSON.stringify(type)}`,
      near === undefined ? 'use gzip, zstd or uncompressed' : `did you mean ${near}?`,
    );
  }
  const forced = force ? { force } : {};
  if (level === undefined) return { compression, ...forced };
  if (compression === 'uncompressed') throw fail('there are no levels of it', 'leave the level away');
  const { min, max } = LEVELS[compression];
  const number = /^\d{1,2}$/.test(level) ? Number(level) : -1;
  if (number < min || number > max)
    throw fail(`no level ${JSON.stringify(level)}`, `${compression} has the levels ${min} to ${max}`);
  return { compression, level: number, ...forced };
}

/**
 * What each FROM means, for all stages of the file, also those that the target does not need: a FROM that cannot
 * work is an error wherever it stands. No image is asked for here.
 */
import { narrow, TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { Platform } from '../../src/oci/documents.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { FrontendRequest } from '../request.ts';
import type { Linter } from '../lint/linter.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import { createExpander } from './expander.ts';
import type { GlobalVariables } from './global-args.ts';
import { findContext } from './named-contexts.ts';
import { parsePlatformText } from './platform-text.ts';
import type { Stage } from './stages.ts';

export interface From {
  /** Expanded. */
  readonly image: string;
  readonly platform: Platform;
  /** Index of the earlier stage that is meant. */
  readonly parent?: number;
  /** Names of variables that it uses. */
  readonly used: ReadonlySet<string>;
}

export interface FromOptions {
  readonly request: FrontendRequest;
  readonly globals: GlobalVariables;
  readonly escape: string;
  readonly linter: Linter;
}

export function resolveFroms(stages: readonly Stage[], options: FromOptions): readonly From[] {
  const names = new Map<string, number>();
  return stages.map((stage) => {
    const from = resolveFrom(stage, names, options);
    if (stage.name !== undefined) names.set(stage.name, stage.index);
    return from;
  });
}

function resolveFrom(
  stage: Stage,
  names: ReadonlyMap<string, number>,
  { request, globals, escape, linter }: FromOptions,
): From {
  const { raw, image: written, platform: writtenPlatform } = stage.from;
  const at = refAt(raw);
  const used = new Set<string>();
  const expand = createExpander({
    raw,
    escape,
    variables: globals.variables,
    onUsed: (name) => used.add(name),
    onUndefined: (name) => reportUndefined(name, globals, at, linter),
  });
  const image = expand.word(written);
  if (image === '')
    throw syntaxError(
      'STAGE_INVALID',
      `the base name ${JSON.stringify(written)} is blank after expansion`,
      narrow(at, written),
      didYouMean(written, globals) ?? 'give the ARG a value before FROM',
    );
  const platform =
    writtenPlatform === undefined
      ? request.platform
      : resolvePlatform(stage, writtenPlatform, { request, globals, escape, linter }, used);
  const parent = names.get(image);
  if (parent === undefined && image !== 'scratch' && findContext(request, image, platform) === undefined)
    checkReference(image, narrow(at, written), 'as base', names.keys());
  return { image, platform, used, ...(parent === undefined ? {} : { parent }) };
}

function reportUndefined(name: string, globals: GlobalVariables, at: SourceRef, linter: Linter): void {
  if (globals.declared.has(name)) return;
  const near = suggest(name, [...globals.declared]);
  linter.report(
    'UndefinedArgInFrom',
    `the argument '${name}' of FROM is not declared${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    at,
  );
}

function resolvePlatform(
  stage: Stage,
  written: string,
  { request, globals, escape, linter }: FromOptions,
  used: Set<string>,
): Platform {
  const { raw } = stage.from;
  const at = refAt(raw);
  const mine = new Set<string>();
  let unset = 0;
  const expand = createExpander({
    raw,
    escape,
    variables: globals.variables,
    onUsed: (name) => mine.add(name),
    onUndefined(name) {
      unset += 1;
      reportUndefined(name, globals, at, linter);
    },
  });
  const text = expand.word(written);
  for (const name of mine) used.add(name);
  const isTarget =
    mine.size === 1 &&
    unset === 0 &&
    mine.has('TARGETPLATFORM') &&
    text === globals.variables.get('TARGETPLATFORM');
  if (isTarget)
    linter.report(
      'RedundantTargetPlatform',
      `--platform=${written} is what FROM takes by default: leave it out`,
      at,
    );
  const platform = parsePlatformText(text);
  if (mine.size === 0 && unset === 0 && platform !== undefined) reportConstant(stage, text, platform, linter);
  const place = stage.from.platformAt ?? at;
  if (text === '')
    throw syntaxError(
      'PLATFORM_INVALID',
      `empty platform value from expression ${JSON.stringify(written)}`,
      place,
      didYouMean(written, globals) ?? 'give the ARG a value before FROM, or leave --platform out',
    );
  if (platform === undefined)
    throw syntaxError(
      'PLATFORM_INVALID',
      `invalid platform ${JSON.stringify(text)}${text === written ? '' : ` from ${JSON.stringify(written)}`}`,
      place,
      didYouMean(written, globals) ?? 'write os/architecture[/variant], e.g. linux/arm64',
    );
  return request.platform['os.version'] !== undefined && isTarget ? request.platform : platform;
}

/** A stage that is called after its platform is for that platform on purpose. */
function reportConstant(stage: Stage, text: string, { os, architecture }: Platform, linter: Linter): void {
  const name = stage.name ?? '';
  if (name.includes(os) || name.includes(architecture)) return;
  linter.report(
    'FromPlatformFlagConstDisallowed',
    `--platform=${text} is the same for every build: take $BUILDPLATFORM or leave it out`,
    refAt(stage.from.raw),
  );
}

function didYouMean(written: string, globals: GlobalVariables): string | undefined {
  for (const [, name = ''] of written.matchAll(/\$\{?([A-Za-z_]\w*)/g)) {
    if (globals.declared.has(name)) continue;
    const near = suggest(name, [...globals.declared]);
    if (near !== undefined) return `did you mean $${near}?`;
  }
  return undefined;
}

/** Throws REFERENCE_INVALID unless it can be the name of an image. `use` is as in messages, `names` are stages. */
export function checkReference(image: string, at: SourceRef, use: string, names: Iterable<string>): void {
  try {
    parseReference(image);
  } catch (error) {
    const { message, hint } = error instanceof TsbuildError ? error : { message: String(error) };
    const prefix = `invalid reference ${JSON.stringify(image)}: `;
    const reason = message.startsWith(prefix) ? message.slice(prefix.length) : message;
    const stage = [...names].find((name) => name === image.toLowerCase());
    const fallback = 'write [registry/]repository[:tag], or the name of an earlier stage';
    throw syntaxError(
      'REFERENCE_INVALID',
      `cannot use ${JSON.stringify(image)} ${use}: ${reason}`,
      at,
      /^[a-z]+:\/\//i.test(image)
        ? 'leave the scheme out: write [registry/]repository[:tag]'
        : stage === undefined
          ? (hint ?? fallback)
          : `write ${stage} to begin with that stage`,
    );
  }
}

/** FROM must name an image also where nobody gives build arguments. `defaults` are values without those. */
export function checkDefaults(
  stages: readonly Stage[],
  defaults: ReadonlyMap<string, string>,
  escape: string,
  linter: Linter,
): void {
  for (const { from } of stages) {
    try {
      parseReference(createExpander({ raw: from.raw, escape, variables: defaults }).word(from.image));
    } catch (error) {
      if (!(error instanceof TsbuildError)) throw error;
      // What cannot be expanded at all fails for everybody, and says so itself.
      if (error.code === 'EXPANSION_FAILED') return;
      linter.report(
        'InvalidDefaultArgInFrom',
        `without build arguments, ${JSON.stringify(from.image)} is not the name of an image`,
        refAt(from.raw),
      );
    }
  }
}

/** `--check` and `--call=check|outline|targets`: what a Dockerfile says, without building it. */
import { TsbuildError } from '../../base/errors.ts';
import { prepareBuild } from '../../engine/prepare-build.ts';
import { checkDockerfile, listStages, outlineDockerfile } from '../../../frontend/frontend.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import { renderCheck, type CheckFormat } from '../render/check.ts';
import { renderOutline, renderTargets } from '../render/outline.ts';
import type { Session } from '../session.ts';
import { readRequest } from './build.ts';

interface Call {
  readonly method: 'check' | 'outline' | 'targets' | 'build';
  readonly format: CheckFormat;
}

/** Exit code 1 where a check finds something. */
export async function runCall(flags: ParsedFlags, session: Session): Promise<number> {
  const { method, format } = parseCall(flags);
  if (method === 'build')
    throw new TsbuildError('USAGE', '--call=build goes without --check', { hint: 'leave --call out' });
  const request = await readRequest(flags, session);
  const engine = session.engine();
  const renderer = createRenderer(flags, session);
  const options = { sink: renderer, signal: session.signal };
  const write = (text: string): void => void session.stdout.write(text);
  try {
    using prepared = await prepareBuild(engine, request, options);
    const [platform = engine.options.platform] = request.platforms;
    const source = prepared.sources.dockerfile;
    const asked = prepared.frontendRequest(platform);
    switch (method) {
      case 'check': {
        const result = await checkDockerfile(asked);
        renderer.end();
        write(renderCheck(result, source, format));
        return result.warnings.length > 0 || result.error !== undefined ? 1 : 0;
      }
      case 'outline':
        write(renderOutline(await outlineDockerfile(asked), source, format === 'json'));
        return 0;
      case 'targets':
        write(renderTargets(listStages(source), source, format === 'json'));
        return 0;
    }
  } finally {
    renderer.end();
  }
}

function parseCall(flags: ParsedFlags): Call {
  const [method = '', ...fields] = (flags.text('call') ?? 'check').split(',');
  const named = method === 'lint' ? 'check' : method;
  if (named !== 'check' && named !== 'outline' && named !== 'targets' && named !== 'build')
    throw new TsbuildError('USAGE', `unknown method ${JSON.stringify(method)} for --call`, {
      hint: 'use build, check, outline or targets',
    });
  if (flags.boolean('check') && named !== 'check')
    throw new TsbuildError('USAGE', `--check and --call=${named} do not go together`);
  const given = fields.find((field) => field.startsWith('format='))?.slice('format='.length);
  const format = flags.text('format') ?? given ?? 'text';
  const isKnown = format === 'text' || format === 'json' || (format === 'sarif' && named === 'check');
  if (!isKnown)
    throw new TsbuildError('USAGE', `unknown format ${JSON.stringify(format)}`, {
      hint: named === 'check' ? 'use text, json or sarif' : 'use text or json',
    });
  return { method: named, format };
}

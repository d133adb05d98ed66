/** `--output`: `type=…,dest=…`, a directory, or `-`. */
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { Output } from '../../engine/outputs.ts';
import type { LayerForm } from '../../layer/layer-form.ts';
import { readCompressionFields } from './compression-flags.ts';

/** Standard output, as far as it matters here. */
export type Stdout = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** `form`: what flags say of compression, where the output says nothing. */
export function parseOutputs(
  specs: readonly string[],
  cwd: string,
  stdout: Stdout,
  form?: LayerForm,
): Output[] {
  return specs.flatMap((spec) => parseOutput(spec, cwd, stdout, form) ?? []);
}

/** How the layers are compressed that go to a registry: by the first output that says something of it. */
export function pushForm(specs: readonly string[], flags: LayerForm | undefined): LayerForm | undefined {
  for (const spec of specs) {
    const fields = fieldsOf(spec);
    if (!/^(image|registry)$/.test(fields.get('type') ?? '')) continue;
    const form = readCompressionFields(fields, `--output ${JSON.stringify(spec)}`, undefined);
    if (form !== undefined) return form;
  }
  return flags;
}

function fieldsOf(spec: string): ReadonlyMap<string, string> {
  return new Map(
    spec
      .split(',')
      .map((field) => [
        field.split('=', 1)[0] ?? '',
        field.includes('=') ? field.slice(field.indexOf('=') + 1) : 'true',
      ]),
  );
}

function parseOutput(
  spec: string,
  cwd: string,
  stdout: Stdout,
  flags: LayerForm | undefined,
): Output | undefined {
  const fail = (message: string, hint: string): TsbuildError =>
    new TsbuildError('USAGE', `invalid --output ${JSON.stringify(spec)}: ${message}`, { hint });
  if (spec === '-') return { kind: 'tar', destination: guard(stdout, fail) };
  if (!spec.includes('=')) return { kind: 'local', destination: resolve(cwd, spec) };
  const fields = fieldsOf(spec);
  const type = fields.get('type');
  const dest = fields.get('dest') ?? fields.get('destination');
  const form = readCompressionFields(fields, `--output ${JSON.stringify(spec)}`, flags) ?? {
    compression: 'gzip',
  };
  const file = dest === undefined || dest === '-' ? undefined : resolve(cwd, dest);
  const stream = (): string | NodeJS.WritableStream => file ?? guard(stdout, fail);
  switch (type) {
    case 'image':
    case 'registry':
      return undefined;
    case 'local':
      if (file === undefined) throw fail('dest is missing', 'write type=local,dest=DIRECTORY');
      return { kind: 'local', destination: file };
    case 'tar':
      return { kind: 'tar', destination: stream() };
    case 'docker':
      // As buildx has it: without a file the image goes to the store, where it is in any case.
      if (dest === undefined) return undefined;
      return {
        kind: 'docker-archive',
        destination: stream(),
        form: { compression: 'uncompressed', force: true },
      };
    case 'oci':
      if (file !== undefined && (fields.get('tar') === 'false' || !/\.tar$/.test(file)))
        return { kind: 'oci-directory', destination: file, form };
      return { kind: 'oci-archive', destination: stream(), form };
    default:
      throw fail(
        type === undefined ? 'type is missing' : `unknown type ${JSON.stringify(type)}`,
        'use type=oci, docker, local, tar, image or registry',
      );
  }
}

function guard(stdout: Stdout, fail: (message: string, hint: string) => TsbuildError): Stdout {
  if (stdout.isTTY === true) throw fail('standard output is a terminal', 'name a file with dest=FILE');
  return stdout;
}

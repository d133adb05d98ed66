/** Which Dockerfile a build is of, so that its steps are compared with those of its earlier builds. */
import { basename } from 'node:path';
import type { Project } from '../solver/why/journal.ts';
import type { ContextSpec, DockerfileText } from './build-sources.ts';

export function projectOf(context: ContextSpec | undefined, { file }: DockerfileText): Project {
  return { place: `${placeOf(context)}\0${file}`, name: basename(file) };
}

function placeOf(context: ContextSpec | undefined): string {
  switch (context?.kind) {
    case 'directory':
      return context.directory;
    case 'git':
      return context.source.url;
    case 'http':
      return context.url;
    case 'image':
      return context.reference;
    case 'layout':
      return context.path;
    case 'stage':
    case 'stream':
    case undefined:
      return '';
  }
}

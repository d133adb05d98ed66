/** The graphs of a build, one a platform, with what is to be said of its Dockerfile before anything runs. */
import type { BuildGraph } from '../graph/graph.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import type { Engine } from './engine.ts';
import type { CallOptions } from './with-vertex.ts';
import type { BuildRequest } from './build-request.ts';
import type { PreparedBuild } from './prepare-build.ts';

/** Frontends whose language is ours. */
const OWN_SYNTAX = /^(?:docker\.io\/)?docker\/dockerfile(?:-upstream)?(?:[:@].*)?$|^dockerfile\.v0$/;

/** One graph a platform. The same warning is not given twice. */
export async function createGraphs(
  engine: Engine,
  request: BuildRequest,
  prepared: PreparedBuild,
  { sink }: CallOptions,
): Promise<readonly BuildGraph[]> {
  const { host } = engine;
  const machine = engine.options.platform;
  const seen = new Set<string>();
  const graphs: BuildGraph[] = [];
  for (const platform of request.platforms.length === 0 ? [machine] : request.platforms)
    graphs.push(
      await createBuildGraph({
        ...prepared.frontendRequest(platform),
        onWarning({ message, rule, source }) {
          const key = `${rule} ${source.range.startLine} ${message}`;
          if (seen.has(key)) return;
          seen.add(key);
          sink.emit({ kind: 'warning', message: `${rule}: ${message}`, source, at: host.now() });
        },
      }),
    );
  const unused = graphs.at(0)?.unusedArgs ?? [];
  if (unused.length > 0)
    sink.emit({
      kind: 'warning',
      message: `build arguments were given that no ARG asks for: ${unused.join(', ')}`,
      at: host.now(),
    });
  const syntax = graphs.at(0)?.syntax?.split(' ', 1)[0];
  if (syntax !== undefined && !OWN_SYNTAX.test(syntax))
    sink.emit({
      kind: 'warning',
      message: `the Dockerfile asks for the frontend ${JSON.stringify(syntax)}, which is not run: it is read as a Dockerfile`,
      at: host.now(),
    });
  if (graphs.some((graph) => graph.platform.architecture !== machine.architecture)) {
    const { checkRunnable } = await import('./emulation.ts');
    checkRunnable(
      graphs.map((graph) => graph.target),
      machine,
    );
  }
  return graphs;
}

/** The library: what `import { build } from 'tsbuild'` gives. The command line is a reader of arguments for this. */
export { TsbuildError, isTsbuildError } from '../base/errors.ts';
export { build, type BuildResult } from './build.ts';
export type { BuildRequest } from './build-request.ts';
export { checkContextDirectory, readDockerfileSource } from './dockerfile-source.ts';
export { openEngine, type Engine, type EngineOptions } from './engine.ts';
export { importImage } from './import.ts';
export { loadImages } from './load.ts';
export { pullImage } from './pull.ts';
export { pushImage } from './push.ts';
export { runContainer, type RunOptions, type RunOutcome } from './run.ts';
export type { CreateRequest } from './containers/request.ts';
export { createContainer } from './containers/create.ts';
export { startContainer, type StartedContainer } from './containers/start.ts';
export { killContainer, stopContainer, waitForContainer } from './containers/stop.ts';
export { removeContainer } from './containers/remove.ts';
export { createRegistry } from '../registry/client.ts';
export { silentSink, type ProgressEvent, type ProgressSink } from '../progress/progress.ts';

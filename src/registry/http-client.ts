/**
 * undici, behind a module of our own that is imported lazily.
 *
 * why: a dynamic import of a CommonJS package loses its names when it is bundled; a static one keeps them.
 */
export { Agent, buildConnector, ProxyAgent, request } from 'undici';

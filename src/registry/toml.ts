/** smol-toml, behind a module of our own that is imported lazily. */
export { parse, TomlError } from 'smol-toml';

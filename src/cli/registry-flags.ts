/** Flags of the commands that speak to registries. */
import type { FlagTable } from './flags.ts';

export const REGISTRY_FLAGS: FlagTable = {
  'registry-mirror': {
    kind: 'list',
    value: '[REGISTRY=]HOST[/PATH]',
    help: 'ask this host first (for docker.io unless REGISTRY is given)',
  },
  'no-registry-fallback': { kind: 'boolean', help: 'where there are mirrors, ask nobody else' },
  'registry-config': { kind: 'text', value: 'FILE', help: 'rules of registries (docs/registries.md)' },
  'registry-client-cert': {
    kind: 'list',
    value: 'HOST=CERT,KEY',
    help: 'client certificate for a registry',
  },
  retry: { kind: 'text', value: 'N', help: 'attempts of one request to a registry (default 5)' },
  'retry-delay': {
    kind: 'text',
    value: 'TIME',
    help: 'longest first pause between attempts (default 500ms)',
  },
};

/** Of the commands that compress layers. */
export const COMPRESSION_FLAGS: FlagTable = {
  compression: {
    kind: 'text',
    value: 'TYPE[,LEVEL]',
    help: 'of layers that travel: gzip (default; 0-9, default 6), zstd (1-22, default 3), uncompressed',
  },
  'compression-format': { kind: 'text', value: 'TYPE', help: 'as --compression' },
  'compression-level': { kind: 'text', value: 'LEVEL', help: 'as the second part of --compression' },
  'force-compression': { kind: 'boolean', help: 'also of layers that came compressed in another way' },
};

/** Of the commands that write to registries. */
export const PUSH_FLAGS: FlagTable = {
  'chunk-size': {
    kind: 'text',
    value: 'SIZE',
    help: 'upload in pieces of this size from the start, e.g. 16m',
  },
  referrers: {
    kind: 'text',
    value: 'HOW',
    help: 'how a registry learns what refers to an image: auto (default), api or tag',
  },
  'digest-file': { kind: 'text', value: 'FILE', help: 'write the digest of what was pushed to FILE' },
};

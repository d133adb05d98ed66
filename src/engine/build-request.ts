/** What is asked of a build. */
import type { ManifestFormat } from '../image/manifest.ts';
import type { LayerForm } from '../layer/layer-form.ts';
import type { Platform } from '../oci/documents.ts';
import type { Entitlement } from '../../frontend/request.ts';
import type { CacheDestination, CacheSource } from './cache/cache-spec.ts';
import type { ContextSpec, DockerfileSpec } from './build-sources.ts';
import type { Resources } from './handlers.ts';
import type { Output } from './outputs.ts';

export interface BuildRequest {
  readonly dockerfile: DockerfileSpec;
  /** Contexts by name; `context` is the build context. */
  readonly contexts: ReadonlyMap<string, ContextSpec>;
  readonly target?: string;
  /** None: the machine's own. Several give an index. */
  readonly platforms: readonly Platform[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly noCache: boolean | readonly string[];
  /** No step of these stages may be executed (NOT_CACHED); none named: no step at all. */
  readonly assertCached?: readonly string[];
  readonly pull: boolean;
  readonly push: boolean;
  /** Of what is pushed; OCI where nothing is said. */
  readonly format?: ManifestFormat;
  /** How the layers of what is pushed are compressed. */
  readonly form?: LayerForm;
  /** Pushes without tags. */
  readonly pushByDigest?: boolean;
  readonly network: 'default' | 'none' | 'host';
  readonly allow: readonly Entitlement[];
  readonly extraHosts: readonly string[];
  readonly resources: Resources;
  readonly outputs: readonly Output[];
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
  readonly sshSocket: (id: string) => string | undefined;
  /** Asked for steps that were not built here, in this order. */
  readonly cacheFrom?: readonly CacheSource[];
  readonly cacheTo?: readonly CacheDestination[];
  /** Environment of git. */
  readonly gitEnvironment: Readonly<Record<string, string | undefined>>;
}

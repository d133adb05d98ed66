/** The state of the test registry: repositories, upload sessions, tags; every request is checked against the rules. */
import { createHash } from 'node:crypto';
import type { Answer } from './faults.ts';
import type { Seen, TestRegistryOptions } from './test-registry.ts';

export const ACCEPTED_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

export interface StoredManifest {
  readonly bytes: Buffer;
  readonly type: string;
}

export interface Repository {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, string>;
}

export interface State {
  readonly repositories: Map<string, Repository>;
  readonly sessions: Map<string, Session>;
  repository(name: string): Repository;
  setOrigin(origin: string): void;
  handle(seen: Seen, body: Buffer): Answer;
}

interface Session {
  readonly repository: string;
  /** Changes with every answer: only the last Location is good. */
  turn: number;
  parts: Buffer[];
  size: number;
  readonly algorithm: string;
}

const algorithmOf = (digest: string): string => /^(sha256|sha512):/.exec(digest)?.[1] ?? '';
const digestOf = (bytes: Uint8Array, algorithm = 'sha256'): string =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;

const refuse = (status: number, code: string, message = code.toLowerCase(), detail?: unknown): Answer => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] }),
});

export function createState(options: TestRegistryOptions, violate: (text: string) => void): State {
  const repositories = new Map<string, Repository>();
  const sessions = new Map<string, Session>();
  let origin = '';
  let names = 0;

  function repository(name: string): Repository {
    const known = repositories.get(name) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, known);
    return known;
  }

  function locationOf(id: string, session: Session): string {
    // Signed addresses: re-encoding any of these characters breaks them.
    const path = `/v2/${session.repository}/blobs/uploads/${id}?_state=${session.turn}~a%2Bb*(c)%20d`;
    if (options.location === 'absolute') return `${origin}${path}`;
    return options.location === 'elsewhere' ? `${options.storage ?? origin}${path}` : path;
  }

  function began(id: string, session: Session): Answer {
    return {
      status: 202,
      headers: {
        location: locationOf(id, session),
        range: `0-${Math.max(0, session.size - 1)}`,
        'docker-upload-uuid': id,
        ...(options.minChunk === undefined ? {} : { 'oci-chunk-min-length': `${options.minChunk}` }),
      },
    };
  }

  function start(name: string, query: URLSearchParams): Answer {
    const [wanted, from] = [query.get('mount'), query.get('from')];
    if (wanted !== null && from === null) violate('a mount without from');
    if (wanted !== null && from !== null && options.mounts !== false) {
      const blob = repositories.get(from)?.blobs.get(wanted);
      if (blob !== undefined) {
        repository(name).blobs.set(wanted, blob);
        return {
          status: 201,
          headers: { location: `/v2/${name}/blobs/${wanted}`, 'docker-content-digest': wanted },
        };
      }
    }
    const id = `u${(names += 1)}`;
    const algorithm = query.get('digest-algorithm') ?? 'sha256';
    const session: Session = { repository: name, turn: 0, parts: [], size: 0, algorithm };
    sessions.set(id, session);
    return began(id, session);
  }

  function upload(seen: Seen, id: string, query: URLSearchParams, body: Buffer): Answer {
    const session = sessions.get(id);
    if (session === undefined) return refuse(404, 'BLOB_UPLOAD_UNKNOWN');
    const raw = /[?&]_state=([^&]*)/.exec(seen.url)?.[1];
    if (raw !== `${session.turn}~a%2Bb*(c)%20d`) {
      if (!/^\d+~a%2Bb\*\(c\)%20d$/.test(raw ?? ''))
        violate(`the query of a Location was changed: ${raw ?? 'none'}`);
      return refuse(404, 'BLOB_UPLOAD_INVALID');
    }
    if (seen.method === 'GET') return { ...began(id, session), status: 204 };
    if (seen.method === 'DELETE') {
      sessions.delete(id);
      return { status: 204 };
    }
    if (body.byteLength > 0 && seen.headers['content-type'] !== 'application/octet-stream')
      violate(`${seen.method} of bytes as ${String(seen.headers['content-type'])}`);
    // Docker's own clients send all that they have in one PATCH without a length.
    const isStream = seen.headers['transfer-encoding'] === 'chunked' && session.size === 0;
    if (!isStream && Number(seen.headers['content-length']) !== body.byteLength)
      violate(
        `${seen.method} says ${String(seen.headers['content-length'])} bytes, and sends ${body.byteLength}`,
      );
    const range = seen.headers['content-range'];
    if (seen.method === 'PATCH' && range === undefined && !isStream) violate('PATCH without Content-Range');
    if (range !== undefined) {
      const match = /^(\d+)-(\d+)$/.exec(range);
      if (match === null) violate(`Content-Range ${JSON.stringify(range)}`);
      else if (Number(match[1]) !== session.size) return { ...began(id, session), status: 416 };
      else if (Number(match[2]) - Number(match[1]) + 1 !== body.byteLength)
        violate(`Content-Range ${range} of ${body.byteLength} bytes`);
    }
    if (seen.method === 'PATCH' && body.byteLength < (options.minChunk ?? 0))
      violate(`a piece of ${body.byteLength} bytes`);
    session.parts.push(body);
    session.size += body.byteLength;
    session.turn += 1;
    if (seen.method === 'PATCH') return began(id, session);
    const wanted = query.get('digest') ?? '';
    const whole = Buffer.concat(session.parts);
    sessions.delete(id);
    if (digestOf(whole, session.algorithm) !== wanted)
      return refuse(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    repository(session.repository).blobs.set(wanted, whole);
    return {
      status: 201,
      headers: { location: `/v2/${session.repository}/blobs/${wanted}`, 'docker-content-digest': wanted },
    };
  }

  function blob(seen: Seen, name: string, digest: string): Answer {
    const bytes = repositories.get(name)?.blobs.get(digest);
    if (bytes === undefined) return refuse(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    if (seen.headers['accept-encoding'] !== 'identity') violate('a blob may come encoded');
    const headers = {
      'docker-content-digest': digest,
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
    };
    if (options.storage !== undefined && seen.method === 'GET' && options.location !== 'elsewhere')
      return {
        status: 307,
        headers: { location: `${options.storage}/${name}/${digest}?X-Amz-Signature=a%2Fb~(c)*'%20` },
      };
    const match = /^bytes=(\d+)-(\d*)$/.exec(seen.headers.range ?? '');
    if (match === null) return { status: 200, headers, body: bytes };
    const from = Number(match[1]);
    if (bytes.byteLength === 0) violate('Range of an empty blob');
    if (from >= bytes.byteLength)
      return { status: 416, headers: { 'content-range': `bytes */${bytes.byteLength}` } };
    const end = match[2] === '' ? bytes.byteLength : Number(match[2]) + 1;
    return {
      status: 206,
      headers: { ...headers, 'content-range': `bytes ${from}-${end - 1}/${bytes.byteLength}` },
      body: bytes.subarray(from, end),
    };
  }

  function getManifest(seen: Seen, name: string, reference: string): Answer {
    const repo = repositories.get(name);
    const digest = /^sha(256|512):/.test(reference) ? reference : repo?.tags.get(reference);
    const stored = repo?.manifests.get(digest ?? '');
    const accept = seen.headers.accept ?? '';
    for (const type of ACCEPTED_TYPES)
      if (!accept.includes(type)) violate(`Accept of a manifest lacks ${type}`);
    if (accept.includes('*/*')) violate('Accept of a manifest is */*');
    if (stored === undefined || digest === undefined)
      return refuse(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    return {
      status: 200,
      headers: { 'content-type': stored.type, 'docker-content-digest': digest },
      body: stored.bytes,
    };
  }

  function putManifest(seen: Seen, name: string, reference: string, bytes: Buffer): Answer {
    const repo = repository(name);
    const isByDigest = algorithmOf(reference) !== '';
    const digest = digestOf(bytes, isByDigest ? algorithmOf(reference) : 'sha256');
    const type = seen.headers['content-type'] ?? '';
    const document = JSON.parse(bytes.toString('utf8')) as {
      readonly mediaType?: string;
      readonly config?: { readonly digest: string };
      readonly layers?: readonly { readonly digest: string; readonly urls?: readonly string[] }[];
      readonly manifests?: readonly { readonly digest: string; readonly mediaType: string }[];
      readonly subject?: { readonly digest: string };
    };
    if (document.mediaType !== undefined && document.mediaType !== type)
      return refuse(400, 'MANIFEST_INVALID', 'mediaType differs from Content-Type');
    if (isByDigest && reference !== digest) return refuse(400, 'DIGEST_INVALID');
    const blobs = [document.config, ...(document.layers ?? [])].filter((each) => each !== undefined);
    const missing = [
      ...blobs.filter((each) => !('urls' in each) && !repo.blobs.has(each.digest)),
      ...(document.manifests ?? []).filter(
        (each) => ACCEPTED_TYPES.includes(each.mediaType) && !repo.manifests.has(each.digest),
      ),
    ];
    if (missing.length > 0)
      return refuse(404, 'MANIFEST_BLOB_UNKNOWN', 'blob unknown', { digest: missing[0]?.digest });
    // As GitLab has it.
    if (
      options.checksReferences === true &&
      document.subject !== undefined &&
      !repo.manifests.has(document.subject.digest)
    )
      return refuse(404, 'MANIFEST_BLOB_UNKNOWN', 'subject unknown', { digest: document.subject.digest });
    if (!isByDigest) {
      const before = repo.tags.get(reference);
      if (before !== undefined && options.immutableTags === true)
        return refuse(
          400,
          'TAG_INVALID',
          `The image tag '${reference}' cannot be overwritten because the repository is immutable.`,
        );
      repo.tags.set(reference, digest);
    }
    repo.manifests.set(digest, { bytes, type });
    return {
      status: 201,
      headers: {
        location: `/v2/${name}/manifests/${digest}`,
        'docker-content-digest': digest,
        ...(document.subject !== undefined && options.referrersApi !== false
          ? { 'oci-subject': document.subject.digest }
          : {}),
      },
    };
  }

  function referrers(name: string, subject: string, query: URLSearchParams): Answer {
    if (options.referrersApi === false) return { status: 404, body: '404 page not found' };
    const manifests = [...(repositories.get(name)?.manifests ?? [])].flatMap(([digest, { bytes, type }]) => {
      const document = JSON.parse(bytes.toString('utf8')) as {
        readonly artifactType?: string;
        readonly config?: { readonly mediaType: string };
        readonly subject?: { readonly digest: string };
        readonly annotations?: Record<string, string>;
      };
      if (document.subject?.digest !== subject) return [];
      const artifactType = document.artifactType ?? document.config?.mediaType ?? '';
      return [
        { mediaType: type, digest, size: bytes.byteLength, artifactType, annotations: document.annotations },
      ];
    });
    const last = Number(query.get('last') ?? 0);
    const size = options.pageSize ?? manifests.length;
    const page = manifests.slice(last, last + size);
    const more = last + size < manifests.length;
    return {
      status: 200,
      headers: {
        'content-type': ACCEPTED_TYPES[0] ?? '',
        ...(more ? { link: `</v2/${name}/referrers/${subject}?last=${last + size}>; rel="next"` } : {}),
      },
      body: JSON.stringify({ schemaVersion: 2, mediaType: ACCEPTED_TYPES[0], manifests: page }),
    };
  }

  function tags(name: string, query: URLSearchParams): Answer {
    const repo = repositories.get(name);
    if (repo === undefined) return refuse(404, 'NAME_UNKNOWN');
    const all = [...repo.tags.keys()].sort();
    const last = query.get('last');
    const rest = last === null ? all : all.filter((tag) => tag > last);
    const size = Math.min(Number(query.get('n') ?? 100), options.pageSize ?? 1000);
    const page = rest.slice(0, size);
    const more = rest.length > size;
    return {
      status: 200,
      headers: {
        'content-type': 'application/json',
        ...(more ? { link: `</v2/${name}/tags/list?last=${page.at(-1) ?? ''}&n=${size}>; rel="next"` } : {}),
      },
      body: JSON.stringify({ name, tags: page }),
    };
  }

  return {
    repositories,
    sessions,
    repository,
    setOrigin: (value) => (origin = value),
    handle(seen, body) {
      const { pathname, searchParams: query } = new URL(seen.url, 'http://x');
      if (seen.headers.cookie !== undefined) violate('a cookie was sent');
      if (pathname === '/v2/')
        return { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' };
      const match = /^\/v2\/(.+)\/(blobs\/uploads|blobs|manifests|tags|referrers)\/([^/]*)$/.exec(pathname);
      const [, name = '', kind = '', rest = ''] = match ?? [];
      const { method } = seen;
      if (kind === 'blobs/uploads')
        return rest === '' && method === 'POST' ? start(name, query) : upload(seen, rest, query, body);
      if (kind === 'blobs' && (method === 'GET' || method === 'HEAD')) return blob(seen, name, rest);
      if (kind === 'manifests' && (method === 'GET' || method === 'HEAD'))
        return getManifest(seen, name, rest);
      if (kind === 'manifests' && method === 'PUT') return putManifest(seen, name, rest, body);
      if (kind === 'referrers' && method === 'GET') return referrers(name, rest, query);
      if (kind === 'tags' && method === 'GET') return tags(name, query);
      violate(`no such request: ${method} ${seen.url}`);
      return refuse(404, 'UNSUPPORTED');
    },
  };
}

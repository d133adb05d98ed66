/** The frontend by itself, in this process and warm: what one parsing and lowering of a long Dockerfile takes. */
import { digestOf } from '../src/base/digest.ts';
import { createBuildGraph } from '../frontend/frontend.ts';

export const LINES = 500;
/** What it may take. */
export const LIMIT_MS = 15;
const WARM_UP = 50;
const ROUNDS = 100;

/** Ten stages of fifty lines each: every instruction, variables, continuations, heredocs, copies between stages. */
export function generateDockerfile(): string {
  const stage = (number: number): readonly string[] => {
    const base = number === 0 ? 'alpine:$VERSION' : `stage${number - 1}`;
    const lines = [
      `FROM ${base} AS stage${number}`,
      'ARG VERSION',
      `ARG TAG${number}=\${VERSION%.*}-${number}`,
      'WORKDIR /app',
      'USER root:root',
      'SHELL ["/bin/sh", "-ec"]',
      'EXPOSE 80 443/tcp 8000-8010/udp',
      'VOLUME ["/data"]',
      'HEALTHCHECK --interval=30s --retries=3 CMD ["true"]',
      'RUN <<SCRIPT',
      `echo ${number}`,
      'echo "$TAG"',
      'SCRIPT',
      'CMD ["/app/server", "--port", "80"]',
    ];
    while (lines.length < 50) {
      const at = lines.length;
      if (at % 4 === 0)
        lines.push(`ENV NAME_${number}_${at}="value \${VERSION:-none}" OTHER_${at}=$TAG${number}`);
      else if (at % 4 === 1) lines.push(`COPY --chown=1:2 src/${at}/*.ts package-${at}.json ./lib/${at}/`);
      else if (at % 4 === 2 && at < 48)
        lines.push(`RUN --mount=type=cache,target=/cache/${at} make ${at} && \\`, '    echo done');
      else
        lines.push(
          number === 0 ? `LABEL label.${at}=x` : `COPY --from=stage${number - 1} /out/${at} /in/${at}`,
        );
    }
    return lines;
  };
  const lines = Array.from({ length: 10 }, (_, number) => stage(number)).flat();
  return ['ARG VERSION=3.19', ...lines].slice(0, LINES).join('\n');
}

/** Milliseconds of each round, after a warm-up. */
export async function measureFrontend(): Promise<readonly number[]> {
  const platform = { os: 'linux', architecture: 'amd64' };
  const config = { ...platform, config: {}, rootfs: { type: 'layers', diff_ids: [] }, history: [] } as const;
  const text = generateDockerfile();
  const times: number[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const started = performance.now();
    await createBuildGraph({
      file: 'Dockerfile',
      text,
      platform,
      buildPlatform: platform,
      buildArgs: {},
      labels: {},
      noCache: false,
      network: 'default',
      namedContexts: {},
      resolveImage: (reference) => Promise.resolve({ reference, manifest: digestOf(reference), config }),
    });
    if (round >= WARM_UP) times.push(performance.now() - started);
  }
  return times;
}

/** What the fuzzer begins with: small Dockerfiles that touch every instruction, and words that have hurt before. */

export const SEEDS: readonly string[] = [
  `# syntax=docker/dockerfile:1
# escape=\\
# check=skip=FromAsCasing,UndefinedVar;error=false;experimental=all
ARG VERSION=1.2 REGISTRY
ARG BASE=\${REGISTRY:-docker.io}/library/alpine:\${VERSION%.*}
# build what is compiled
FROM --platform=$BUILDPLATFORM \${BASE} AS build
ARG TARGETARCH VERSION
ENV A=1 B="two words" C='$A' D=\${A:+set}\${U:-\${V-none}}
WORKDIR /src/../app
COPY --chown=1:2 --chmod=u+x,go-w --exclude=*.md a b* ./
RUN --mount=type=cache,target=/root/.cache,sharing=locked,id=c,uid=1,mode=0700 \\
    # a comment
    --network=none make \\

    all
FROM scratch
COPY --from=build --link /out /
ENTRYPOINT ["/bin/x", "\\u0041\\n"]
`,
  `FROM base AS one
ONBUILD COPY <<-EOF /etc/conf
\tvalue=$VALUE
\tEOF
ONBUILD ARG LATE=\${VALUE##*/}
FROM one AS two
RUN <<A cat <<-'B' 3<<"C D" && echo \\$done
first
A
\t\tsecond
\tB
third
C D
from two as Three
HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD ["curl", "-f", "http://localhost/"]
HEALTHCHECK NONE
COPY --from=0 /x /y
COPY --from=TWO --parents a/./b c /d/
ADD --checksum=sha256:${'0'.repeat(64)} https://user:secret@example.com/file%20name.tar.gz?x#y /z/
ADD --keep-git-dir https://example.com/repo.git?branch=main&subdir=a#:b git@host:x/y.git#v1 /g/
CMD echo shell form
MAINTAINER some body
`,
  `# escape=\`
from alpine:3@sha256:${'a'.repeat(64)}
shell ["/bin/bash", "-ec"]
env KEY legacy value \`
  goes on
label a=b "c d"=e\\ f g='h'
expose 80 443/TCP 127.0.0.1:8080:80/udp 8000-8010/sctp [::1]:1:2 $PORTS
volume ["/a b", "/c"]
volume /d $E
stopsignal rtmin+3
user \${UID:?needed}:\${GID?}
workdir relative\${x//a*?/\\/b}\${y/#a/b}
run --security=insecure --mount=from=alpine,source=/a,target=/b,rw --mount=type=secret,id=s,env=S,required \`
 --mount=type=ssh --mount=type=tmpfs,size=64m,target=/t --mount="type=bind,""target""=/q" ["a","b"]
cmd []
`,
  'FROM a\nRUN echo "a \\\n  b" \'c\' \\\\\n\r\nCOPY ["a b", "c"] <<X ./\r\nFROM ${A}${B:-x}:$C\n',
];

export const WORDS: readonly string[] = [
  ...[
    'FROM ',
    'ARG ',
    'ENV ',
    'RUN ',
    'COPY ',
    'ADD ',
    'ONBUILD ',
    'EXPOSE ',
    'HEALTHCHECK ',
    'SHELL ',
    'LABEL ',
  ],
  ...[
    '--from=',
    '--mount=',
    '--chown=',
    '--platform=',
    '--network=',
    '--',
    'type=cache',
    'type=',
    ',',
    'target=/',
    ' AS ',
  ],
  ...[
    '$',
    '${',
    '}',
    ':-',
    ':?',
    '##',
    '%%',
    '//',
    '/',
    '*',
    '?',
    '\\',
    '`',
    "'",
    '"',
    '\n',
    '\r\n',
    '\t',
    ' ',
    '\u0000',
  ],
  ...[
    '<<EOF',
    '<<-"E"',
    'EOF\n',
    '<<',
    '#',
    '# check=',
    '# escape=`\n',
    'skip=all;error=true',
    '[',
    ']',
    '["',
    '", "',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '=',
    '\uFEFF',
    '\uD800',
    'é',
    '😀',
    '\u2028',
    '\u0085',
  ],
  ...[
    '99999999999999999999',
    '-1',
    '0',
    '1e9',
    'NaN',
    '1-65535',
    'scratch',
    'context',
    '.git',
    'https://',
    'git@a:',
    '%zz',
  ],
  ...[
    'TARGETPLATFORM',
    'BUILDPLATFORM',
    'linux/amd64',
    'SOURCE_DATE_EPOCH=',
    'PATH',
    '${A$A}',
    '$A$A$A$A',
    '1h',
    'µs',
  ],
];

/** Names that every object has, and names that mean something to somebody. */
export const NAMES: readonly string[] = [
  ...[
    '__proto__',
    'constructor',
    'toString',
    'PATH',
    'TARGETPLATFORM',
    'scratch',
    'all',
    'from',
    'true',
    'none',
  ],
];

# The supervisor of pods: one file, beside every user's script. Built from the root of the repository.
FROM node:24-bookworm-slim AS manifests
WORKDIR /src
COPY . .
# What is installed depends on these alone, and is made again only when they change.
RUN mkdir /manifests && cp --parents .npmrc package.json package-lock.json */*/package.json /manifests

FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY --from=manifests /manifests .
RUN npm ci --no-audit --no-fund
COPY . .
RUN node tools/build-supervisor.mjs /out

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Sluice supervisor" \
      org.opencontainers.image.description="Runs beside each script in a pod: claims its attempt, brings the input, takes the output." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
  /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn*
COPY --from=build /out /opt/sluice
# Started under any user, on a read-only file system.
USER 65532:65532
# A small young generation: what is streamed is dead at once, and memory that was grown for it is not given back (see pod/relief.ts for the exposed collection).
# One heap for all threads, and freed memory goes back at once.
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
# No debugger: the pod's network is the script's, too.
ENTRYPOINT ["node", "--disable-sigusr1", "--expose-gc", "--max-semi-space-size=1", "--max-old-space-size=64", "/opt/sluice/supervisor.cjs"]

# Image of all components: `api`, `scheduler`, `storage-events` or `builder`; with the client as `sluice`. On a root filesystem that is read-only. Built from the root of the repository.
FROM node:24-bookworm-slim AS manifests
WORKDIR /src
COPY . .
# What is installed depends on these alone, and is made again only when they change.
RUN mkdir /manifests && cp --parents .npmrc package.json package-lock.json */*/package.json /manifests

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY --from=manifests /manifests .
# The image brings Node itself, so the optional packages with one are left out. Types and maps of sources are for those who develop: half of the size.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund -w @sluice/distributed -w @sluice/cli \
 && find -H node_modules -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' \) -delete \
 && rm -rf node_modules/.cache node_modules/@types

# The builder speaks to BuildKit by its own program.
FROM moby/buildkit:v0.25.2 AS buildkit
RUN cp "$(command -v buildctl)" /buildctl && chmod 755 /buildctl

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="Turns files into results: every file that lands in a bucket becomes one run of a script." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
  /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn*
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/.compile-cache
COPY --from=buildkit /buildctl /usr/local/bin/buildctl
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY tools/require-node.mjs tools/fill-compile-cache.mjs tools/
COPY libs libs
COPY services services
COPY apps apps
# 0 is who the container engine's socket belongs to: the scheduler of docker-compose.yml.
RUN chmod 755 apps/distributed/bin/*.mjs apps/cli/bin/*.mjs \
 && ln -s /app/apps/cli/bin/sluice.mjs /usr/local/bin/sluice \
 && mkdir -m 777 .compile-cache \
 && node tools/fill-compile-cache.mjs 10001 0 \
 && chown -R 0:0 .compile-cache && chmod -R u=rwX,go=rX .compile-cache
USER 10001:10001
ENTRYPOINT ["node", "--max-semi-space-size=2", "/app/apps/distributed/bin/sluice-component.mjs"]

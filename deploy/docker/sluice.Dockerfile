# Image of all components: `sluice-component api|scheduler|storage-events`. Runs as any user, on a root filesystem that is read-only.
FROM node:24-bookworm-slim AS packages
WORKDIR /app
# Manifests first: packages are installed again only when these change.
COPY package.json package-lock.json .npmrc ./
COPY libs/shared/package.json libs/shared/
COPY services/api/package.json services/api/
COPY services/scheduler/package.json services/scheduler/
COPY services/storage-events/package.json services/storage-events/
COPY services/supervisor/package.json services/supervisor/
COPY apps/standalone/package.json apps/standalone/
COPY apps/distributed/package.json apps/distributed/
COPY apps/cli/package.json apps/cli/
COPY examples/thumbnail/package.json examples/thumbnail/
# The image brings Node itself, so the optional packages with one are left out.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund \
      -w @sluice/distributed -w @sluice/api -w @sluice/scheduler -w @sluice/storage-events -w @sluice/supervisor -w @sluice/standalone -w @sluice/shared -w @sluice/cli \
 && rm -rf node_modules/.cache

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/.compile-cache
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY tools/require-node.mjs tools/
COPY libs libs
COPY services services
COPY apps apps
# Fills the cache of compiled code, which cannot be written once the image runs.
RUN node apps/distributed/bin/sluice-component.mjs --help >/dev/null \
 && ln -s /app/apps/distributed/bin/sluice-component.mjs /usr/local/bin/sluice-component \
 && ln -s /app/apps/cli/bin/sluice.mjs /usr/local/bin/sluice \
 && chmod -R a+rX /app
USER 10001:10001
ENTRYPOINT ["sluice-component"]

# One file for every image: docker build --target querier -t dippy-studio/querier:0.1.0 . (auditor, registry, migrate, tools alike).
# For a release give the base by its digest: --build-arg NODE_IMAGE=node@sha256:…
ARG NODE_IMAGE=node:24-bookworm-slim

# ---- everything, compiled; then without what only compiling and testing need
FROM ${NODE_IMAGE} AS build
ENV SCARF_ANALYTICS=false NX_DAEMON=false NX_NO_CLOUD=true
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY libs/shared/package.json libs/shared/
COPY engines/ref-sep/package.json engines/ref-sep/
COPY services/querier/package.json services/querier/
COPY services/auditor/package.json services/auditor/
COPY services/registry/package.json services/registry/
COPY clients/miner/package.json clients/miner/
COPY clients/validator/package.json clients/validator/
COPY clients/cli/package.json clients/cli/
COPY tools/launcher/package.json tools/launcher/
COPY bench/package.json bench/
COPY simulations/package.json simulations/
RUN npm ci --no-audit --no-fund
COPY . .
# The binary of kustomize is optional, so that it stays when development packages go; the checks alone use it.
# Who checked the tree out may have kept it to himself, and a copied file keeps its mode: the images' user has to read it.
# Node reads neither TypeScript nor source maps, which are nearly half of the packages' weight.
RUN npm run build \
 && npm prune --omit=dev --no-audit --no-fund \
 && rm -rf node_modules/@install-binary node_modules/.cache libs/shared/dist/testing \
 && find . -type f '(' -name '*.map' -o -name '*.ts' -o -name '*.[cm]ts' ')' -delete \
 && chmod -R a+rX .

# ---- what every image has
FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production
WORKDIR /app
# Its name is for programs that ask who they are; USER has its number, because Kubernetes cannot tell that a name is not root.
# The folders are where volumes are mounted: a new one takes over the owner.
RUN groupadd --gid 10001 studio \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin studio \
 && install -d -o 10001 -g 10001 /data /out /secrets /var/lib/studio/artifacts
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/libs/shared/package.json libs/shared/
COPY --from=build /app/libs/shared/dist libs/shared/dist
USER 10001:10001
EXPOSE 8080

FROM runtime AS querier
COPY --from=build /app/services/querier/package.json services/querier/
COPY --from=build /app/services/querier/dist services/querier/dist
CMD ["node", "services/querier/dist/main.js"]

FROM runtime AS auditor
COPY --from=build /app/engines/ref-sep/package.json engines/ref-sep/
COPY --from=build /app/engines/ref-sep/dist engines/ref-sep/dist
COPY --from=build /app/services/auditor/package.json services/auditor/
COPY --from=build /app/services/auditor/dist services/auditor/dist
# Canaries are made from them (CANARY_CORPUS).
COPY --from=build /app/photos photos
CMD ["node", "services/auditor/dist/main.js"]

FROM runtime AS registry
COPY --from=build /app/services/registry/package.json services/registry/
COPY --from=build /app/services/registry/dist services/registry/dist
EXPOSE 8081
CMD ["node", "services/registry/dist/main.js"]

FROM runtime AS migrate
CMD ["node", "libs/shared/dist/database/main.js", "migrate"]

# ---- miner, validator, the demo, an installation's keys: for systems that are tried out
FROM runtime AS tools
COPY --from=build /app/engines/ref-sep/package.json engines/ref-sep/
COPY --from=build /app/engines/ref-sep/dist engines/ref-sep/dist
COPY --from=build /app/clients/miner/package.json clients/miner/
COPY --from=build /app/clients/miner/dist clients/miner/dist
COPY --from=build /app/clients/validator/package.json clients/validator/
COPY --from=build /app/clients/validator/dist clients/validator/dist
COPY --from=build /app/tools/launcher/package.json tools/launcher/
COPY --from=build /app/tools/launcher/dist tools/launcher/dist
COPY --from=build /app/deploy/k8s/base/namespace.yaml deploy/k8s/base/
COPY --from=build /app/photos photos
CMD ["node", "clients/miner/dist/main.js"]

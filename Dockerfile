# Arguments, so that a mirror or a digest can replace either image. A runtime image needs Node at /nodejs/bin/node.
ARG BUILD_IMAGE=node:26-trixie-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# Before the source, so that a change of it alone reuses the installed compiler.
COPY .npmrc package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
# The final image has no mkdir. A checkout under umask 077 would leave package.json unreadable for the runtime user.
RUN npm run build && mkdir data && chmod 644 package.json

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="webhook-inbox" \
      org.opencontainers.image.licenses="MIT"
# A fresh volume takes over the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /build/data /data
COPY --from=build /build/package.json /app/package.json
COPY --from=build /build/dist /app/dist
# After the copies: a folder that WORKDIR creates may belong to the runtime user, who should not be able to change the program.
WORKDIR /app
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8000
# The upgrade of a large database comes before the port opens.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/nodejs/bin/node", "/app/dist/healthcheck.js"]
# Each flag takes away something that the service never uses and an attacker could.
ENTRYPOINT ["/nodejs/bin/node", \
  "--disable-proto=throw", \
  "--disallow-code-generation-from-strings", \
  "--no-addons", \
  "--disable-sigusr1", \
  "/app/dist/server.js"]

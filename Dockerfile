# Built with BuildKit (the cache mounts): `docker build -t trustdata .`

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The queries were checked into .sqlx, so no database is needed here. The dependencies' builds stay in the cache mounts,
# which are no part of the image: hence the copy.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin trustdata \
    && cp target/release/trustdata /usr/local/bin/trustdata

FROM debian:bookworm-slim
# The ad platforms' certificates are checked against the system's authorities. Not pinned: a rebuild is to bring the current ones.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin trustdata
COPY --from=build /usr/local/bin/trustdata /usr/local/bin/trustdata

USER 10001:10001
# In a container, loopback is reached by nobody. Publish 8080 through a TLS proxy; keep 9090 (metrics) inside.
ENV TRUSTDATA__SERVER__LISTEN=0.0.0.0:8080 \
    TRUSTDATA__SERVER__INTERNAL_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
STOPSIGNAL SIGTERM

# The image has no curl; bash asks by itself, on whichever port the service was told to listen.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>\"/dev/tcp/127.0.0.1/${TRUSTDATA__SERVER__LISTEN##*:}\" && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 2 _ status _ <&3 && [ \"$status\" = 200 ]"]

ENTRYPOINT ["trustdata"]
CMD ["serve"]

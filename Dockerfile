# keyward's image: one static binary in an otherwise empty file system, run as user 65532.
#
#     docker build --tag keyward .                          builds it from the sources
#     docker build --tag keyward --target prebuilt .        takes dist/keyward, which CI has built and tested
#
#     docker run --read-only --cap-drop=ALL --security-opt no-new-privileges --publish 8080:8080 \
#         --volume keyward:/var/lib/keyward keyward serve --upstream http://origin:3000
#
# Nothing is pulled for the image itself: trust roots are compiled in, and the health check is a subcommand because
# there is no shell. There is no `# syntax=` line, since that makes the builder fetch a front end. The admin listener
# stays on the container's loopback; `docker exec` reaches it: `docker exec NAME /usr/local/bin/keyward key list`.

ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Static against glibc. With --target the flag stays off build scripts and procedural macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    cargo build --release --locked --package keyward --target "$host"; \
    mkdir -p /out; \
    cp "target/$host/release/keyward" /out/keyward

FROM scratch AS base
# Everything is root's but the data folder, whose owner a named volume takes over. /var/lib is in rootfs so that it is
# not made, and given away, on the way to that folder.
COPY deploy/docker/rootfs/ /
COPY --chown=65532:65532 deploy/docker/data/ /var/lib/keyward/
ENV KEYWARD__SERVER__LISTEN=0.0.0.0:8080 \
    KEYWARD__STORE__URL=sqlite:///var/lib/keyward/keyward.db
USER 65532:65532
WORKDIR /var/lib/keyward
VOLUME /var/lib/keyward
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/keyward", "health"]
ENTRYPOINT ["/usr/local/bin/keyward"]
CMD ["serve"]

FROM base AS prebuilt
COPY dist/keyward /usr/local/bin/keyward

# Last, so that a plain `docker build .` gives the real thing.
FROM base AS runtime
COPY --from=build /out/keyward /usr/local/bin/keyward

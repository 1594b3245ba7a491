# Builds a static binary and puts it alone, with the CA certificates that TLS needs and the licenses
# of what is in it, into an empty image: no shell, no package, nothing that could be written to.
#
#   docker build --build-arg VERSION=1.2.3 --build-arg REVISION="$(git rev-parse HEAD)" -t factory_exporter .

FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
# Whatever Go the image has, the one that go.mod names builds the binary, as in a release.
ENV GOTOOLCHAIN=
RUN go env -w GOTOOLCHAIN="$(sed -n 's/^toolchain //p' go.mod)" && go mod download
COPY *.go ./
COPY collector ./collector
COPY factoryapi ./factoryapi
COPY internal ./internal
COPY packaging/licenses ./packaging/
RUN packaging/licenses >/THIRD_PARTY_LICENSES
ARG TARGETOS
ARG TARGETARCH
ARG TARGETVARIANT
ARG VERSION=devel
ARG REVISION=unknown
# These are the flags of .goreleaser.yaml: the same source gives the same binary as in a release.
RUN [ "${VERSION#v}" = "$VERSION" ] || { echo "VERSION=$VERSION: leave out the v" >&2; exit 1; } && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} \
    go build -trimpath -buildvcs=false -o /factory_exporter \
    -ldflags "-s -w -buildid= \
      -X github.com/prometheus/common/version.Version=$VERSION \
      -X github.com/prometheus/common/version.Revision=$REVISION" .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /THIRD_PARTY_LICENSES /
COPY LICENSE /
COPY --from=build /factory_exporter /factory_exporter
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="factory_exporter" \
      org.opencontainers.image.description="Prometheus exporter for the members of a Factory organization" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 65532:65532
EXPOSE 10777
ENTRYPOINT ["/factory_exporter"]

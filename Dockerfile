# Builds a static binary and puts it alone, with the CA certificates that TLS needs, into an
# empty image: no shell, no package, nothing that could be written to.
#
#   docker build --build-arg VERSION=1.2.3 --build-arg REVISION="$(git rev-parse HEAD)" -t factory_exporter .

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY *.go ./
COPY collector ./collector
COPY factoryapi ./factoryapi
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
# The same source and arguments give the same bytes: no paths, no VCS stamp, no build id.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -o /factory_exporter \
    -ldflags "-s -w -buildid= \
      -X github.com/prometheus/common/version.Version=$VERSION \
      -X github.com/prometheus/common/version.Revision=$REVISION" .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
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

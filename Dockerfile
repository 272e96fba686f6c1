# grantd as one static binary: no shell, no package manager, not root.
#
#   docker build -t grantd .
#
# With SQLite, on this machine only (Linux; the server stays on its loopback):
#   docker run --rm --network host -v grantd:/var/lib/grantd grantd
# With Postgres: see docker-compose.yml.

FROM golang:1.26 AS build
WORKDIR /src
# Modules first: they change less often than the code. third_party belongs to
# them, because go.mod replaces a module by it.
COPY go.mod go.sum ./
COPY third_party third_party
RUN go mod download
# With .git, so that "grantd version" tells the commit.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/grantd ./cmd/grantd \
 && mkdir -m 700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/grantd /usr/local/bin/grantd
# Where "serve" without settings keeps its database and keys.
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/grantd
WORKDIR /var/lib/grantd
# The public listener. The admin API (8081) is never meant to be published.
EXPOSE 8080
ENTRYPOINT ["grantd"]
CMD ["serve"]

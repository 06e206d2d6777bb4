#!/usr/bin/env bash
# What may depend on what, and what a feature compiles: proved with `cargo tree`.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0

# names CRATE ARGS...: every package that CRATE compiles, by name.
names() {
    cargo tree --quiet --edges normal --prefix none --format '{p}' --package "$@" | sed 's/ .*//' | sort -u
}

# never CRATE PATTERN ARGS...: CRATE does not compile anything of that name.
never() {
    local crate=$1 pattern=$2
    shift 2
    local all found
    # By itself, so that a failure of cargo's ends this.
    all=$(names "$crate" "$@")
    found=$(grep -E "^($pattern)\$" <<< "$all" || true)
    if [ -n "$found" ]; then
        echo "$crate $* must not depend on: $(echo "$found" | tr '\n' ' ')"
        failed=1
    fi
}

# always CRATE NAME ARGS...: CRATE compiles it, so that a wrong pattern above does not pass for a proof.
always() {
    local crate=$1 name=$2
    shift 2
    local all
    all=$(names "$crate" "$@")
    if ! grep -qx "$name" <<< "$all"; then
        echo "$crate $* should depend on: $name"
        failed=1
    fi
}

runtimes='wasmtime|wasmer|mlua|wasmparser|cranelift-codegen|mlua-sys'
engines='engine-wasm-abi|engine-wasm-wasmtime|engine-wasm-wasmer|engine-lua|engine-builtin'
executors='tokio|async-std|smol|futures-executor'

never engine-core "$runtimes|$engines|partition|extengine|$executors"
never foreign "$runtimes|$engines|partition|functions|extengine|$executors"
never engine-wasm-abi "wasmtime|wasmer|mlua|partition|engine-lua|engine-builtin"
never engine-wasm-wasmtime "wasmer|mlua|partition|engine-lua|engine-builtin"
never engine-wasm-wasmer "wasmtime|mlua|partition|engine-lua|engine-builtin"
never engine-lua "wasmtime|wasmer|wasmparser|partition|engine-wasm-abi|engine-builtin"
never engine-builtin "$runtimes|partition|engine-wasm-abi|engine-lua"
never partition "$runtimes|$engines|$executors"
never filters "$runtimes|$engines|partition|engine-core"
never filter-lua "wasmtime|wasmer|wasmparser|partition|engine-wasm-abi|engine-builtin"
never functions "$runtimes|$engines|partition|arrow-array|$executors"
never filter-test "wasmtime|wasmer|mlua|engine-lua|engine-builtin|partition"
never functions "wasmer|mlua|engine-lua|engine-builtin" --features wasmtime
never proxy "wasmtime|wasmer|mlua|partition|functions"
never proxy-wasm "wasmtime|wasmer|mlua|partition|functions"

only() { # only FEATURE PATTERN: a build with one engine compiles no other runtime.
    never extengine-cli "$2" --no-default-features --features "$1"
}
only lua 'wasmtime|wasmer|wasmparser|engine-wasm-abi|engine-builtin|cranelift-codegen'
only builtin "$runtimes|engine-wasm-abi|engine-lua"
only wasmtime 'wasmer|mlua|engine-lua|engine-builtin'
only wasmer 'wasmtime|mlua|engine-lua|engine-builtin'
always extengine-cli mlua --no-default-features --features lua
always extengine-cli wasmtime --no-default-features --features wasmtime
always extengine-cli wasmer --no-default-features --features wasmer
always extengine-cli engine-builtin --no-default-features --features builtin

never extengine-cli 'lsm-tree|fjall|redb' --no-default-features --features lua
always extengine-cli lsm-tree --no-default-features --features disk

[ "$failed" = 0 ] && echo "dependencies point one way"
exit "$failed"

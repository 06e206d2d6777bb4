# Developer verbs; CI calls the same ones.

# List the verbs.
default:
    @just --list

# Formatting, lints with warnings as errors, the direction of dependencies, and the report's reckoning.
check: fmt clippy dependencies report-test

# Formatting.
fmt:
    cargo fmt --all --check
    cargo fmt --check --manifest-path guests/suite/Cargo.toml
    cargo fmt --check --manifest-path guests/bench/Cargo.toml
    cargo fmt --check --manifest-path guests/bare/Cargo.toml
    cargo fmt --check --manifest-path examples/flights/guest/Cargo.toml
    cargo fmt --check --manifest-path benches/orders/guest/Cargo.toml
    cargo fmt --check --manifest-path examples/stream/guest/Cargo.toml
    cargo fmt --all --check --manifest-path examples/proxy/filters/rust/Cargo.toml
    cargo fmt --check --manifest-path functions/guests/bindgen/Cargo.toml
    cargo fmt --check --manifest-path functions/guests/contract/Cargo.toml
    cargo fmt --check --manifest-path benches/peers/Cargo.toml
    cargo fmt --check --manifest-path benches/extism/Cargo.toml
    cargo fmt --check --manifest-path benches/extism/guest/Cargo.toml
    cargo fmt --check --manifest-path fuzz/Cargo.toml

# Lints, warnings as errors, with every feature.
clippy:
    cargo clippy --release --workspace --all-targets --all-features -- -D warnings

# Each feature alone, and none.
features:
    #!/usr/bin/env bash
    set -euo pipefail
    for feature in wasmtime wasmer lua builtin disk wasmtime,filters; do
        echo "== only $feature"
        cargo check --release --quiet -p extengine-cli --no-default-features --features "$feature"
    done
    echo "== no engine"
    cargo check --release --quiet -p extengine-cli --no-default-features
    # What no engine is beside, with warnings as errors, in a folder of its own since that compiles what it depends on anew.
    export RUSTFLAGS="-D warnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/features"
    for crate in functions filters "functions --features arrow" "extengine --no-default-features --features arrow"; do
        echo "== $crate"
        cargo check --release --quiet -p $crate
    done

# What may depend on what, and what a feature compiles.
dependencies:
    scripts/dependencies.sh

# The tests; those of the command line on the sample again, with every engine. With `dev` they check overflows and debug
# assertions as well, and every dependency is compiled once more.
test PROFILE="release":
    cargo test --profile {{ PROFILE }} --workspace
    cargo test --profile {{ PROFILE }} --workspace --all-features --test sample

# Fuzz a target, or all of them, each for so many seconds; target/fuzz keeps what they found.
fuzz TARGET="all" SECONDS="60":
    scripts/fuzz.sh {{ TARGET }} {{ SECONDS }}

# The engines beside the raw runtimes, with short measurements; for more, `cargo bench --workspace --bench NAME`.
bench:
    cargo bench --workspace --bench invoke --bench read --bench start --bench limits --bench filters -- \
        --noplot --warm-up-time 0.2 --measurement-time 0.5 --sample-size 20
    cargo bench --workspace --bench memory

# The instructions of the hot paths, against the baseline in benches/guard.json; `--bless` writes it anew.
guard *ARGS:
    cargo build --release --bin guard
    scripts/guard.py "${CARGO_TARGET_DIR:-target}/release/guard" {{ ARGS }}

# Rebuild the WASM guests that are committed.
guests:
    guests/build.sh

# Commands for all 336,776 flights, in target/flights.
flights-data:
    mkdir -p target/flights
    python3 examples/flights/data/make_commands.py --out target/flights/all.jsonl --csv target/flights/all.csv

# All flights on every engine: one hash, the totals of SQL, and a replay on another engine.
flights-all: flights-data
    scripts/flights-all.sh

# The expected rows of the sample, which the tests compare with, are what SQL makes of it.
flights-expected:
    #!/usr/bin/env bash
    set -euo pipefail
    python3 examples/flights/data/totals.py --out target/expected
    diff -r examples/flights/expected target/expected
    echo "the expected rows are SQL's"

# All flights, killed twenty times at random moments and run again, with the rows in memory and on disk.
crash: flights-data
    scripts/crash.sh target/flights/all.jsonl 20 wasmtime memory
    scripts/crash.sh target/flights/all.jsonl 20 wasmtime disk

# The order command on Redis, Tarantool, SQLite and bare parts, beside Extengine, in one run.
peers *FLAGS:
    mkdir -p "${CARGO_TARGET_DIR:-target}/report"
    scripts/peers.sh {{FLAGS}} > "${CARGO_TARGET_DIR:-target}/report/peers.jsonl"

# The proxy under load: requests whose numbers go through callouts and shared data while ticks run, and then streams of
# which each tenth traps, for so many seconds. None is lost, crossed or answered wrongly, and memory does not grow.
soak REQUESTS="1000000" SECONDS="600":
    cargo bench --workspace --bench streams -- soak --requests {{ REQUESTS }}
    cargo bench --workspace --bench streams -- traps --seconds {{ SECONDS }}

# Whether the bench beside Redis, Tarantool and SQLite compiles, which has a lock of its own.
check-peers:
    cargo check --release --locked --manifest-path benches/peers/Cargo.toml \
        --target-dir "${CARGO_TARGET_DIR:-target}/peers/build"

# The same for the bench beside Extism, which compiles a second wasmtime and takes minutes: CI leaves it out.
check-extism:
    cargo check --release --manifest-path benches/extism/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/extism"

# A quick form of every bench, in target/report: report.json, report.html, and the goals as a Markdown table. With
# `--readme` the ratios go into README.md too.
report *FLAGS:
    python3 scripts/report {{FLAGS}}

# The report's reading and reckoning, and what the guard lets pass.
report-test:
    python3 -m unittest discover --start-directory scripts
    python3 -m unittest discover --start-directory scripts/report

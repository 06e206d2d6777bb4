#!/usr/bin/env bash
# All flights on every engine: the state has one hash, agrees with SQL, and a replay elsewhere finds no difference.
set -euo pipefail
cd "$(dirname "$0")/.."

commands=${1:-target/flights/all.jsonl}
work=target/flights/run
rm -rf "$work"
mkdir -p "$work"
cargo build --release --quiet --workspace --all-features --bin flights
flights=${CARGO_TARGET_DIR:-target}/release/flights

for engine in wasmtime wasmer lua builtin; do
    echo "== $engine"
    "$flights" run examples/flights --engine "$engine" --data "$work/$engine" --commands "$commands" > "$work/$engine.out"
    "$flights" state examples/flights --engine "$engine" --data "$work/$engine" --hash | tee "$work/$engine.hash"
done
for engine in wasmer lua builtin; do
    cmp "$work/wasmtime.hash" "$work/$engine.hash"
    cmp "$work/wasmtime.out" "$work/$engine.out"
done
echo "one hash and the same answers on all four"

for storage in airline flight carrier_stats day route; do
    "$flights" state examples/flights --data "$work/wasmtime" "$storage" > "$work/$storage.jsonl"
    python3 examples/flights/data/totals.py --commands "$commands" --storage "$storage" --compare "$work/$storage.jsonl"
done
echo "the state agrees with SQL"

"$flights" replay examples/flights --engine wasmer --data "$work/wasmtime"
"$flights" verify --data "$work/wasmtime"

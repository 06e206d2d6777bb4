#!/usr/bin/env bash
# Kills a run at random moments, runs the same commands again, and compares with a run that was left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

commands=${1:-target/flights/all.jsonl}
times=${2:-20}
engine=${3:-wasmtime}
store=${4:-memory}
work=target/flights/crash
rm -rf "$work"
mkdir -p "$work/app"
cp examples/flights/{app.toml,commands.jsonl,flights.wasm,flights.lua} "$work/app"
# So little memory that the rows on disk do not fit, and checkpoints all over the run.
printf '\n[partition]\nstore = "%s"\nstore_bytes = "1 MiB"\ncheckpoint_bytes = "4 MiB"\n' "$store" >> "$work/app/app.toml"
cargo build --release --quiet --workspace --all-features --bin flights
flights=$(realpath "${CARGO_TARGET_DIR:-target}")/release/flights
app=$work/app
run=("$flights" run "$app" --engine "$engine" --commands "$commands")

started=$(date +%s%N)
"${run[@]}" --data "$work/calm" > "$work/calm.out"
micros=$((($(date +%s%N) - started) / 1000))
"$flights" state "$app" --data "$work/calm" --hash > "$work/calm.hash"

for i in $(seq "$times"); do
    # Up to half of the calm run each: what was answered before is repeated fast, so the kills fall all over the run.
    life=$((RANDOM * 32768 + RANDOM))
    life=$((life % (micros / 2 + 1)))
    "${run[@]}" --data "$work/killed" > "$work/killed.$i.out" 2> "$work/killed.$i.err" &
    pid=$!
    sleep "$(printf '%d.%06d' $((life / 1000000)) $((life % 1000000)))"
    kill -9 "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
done
"${run[@]}" --data "$work/killed" > "$work/killed.out"
"$flights" state "$app" --data "$work/killed" --hash > "$work/killed.hash"
cmp "$work/calm.hash" "$work/killed.hash"

# What any life answered is what the last run answers: nothing answered was lost, doubled or moved.
for i in $(seq "$times"); do
    python3 - "$work/killed.$i.out" "$work/killed.out" <<'PY'
import sys
life = open(sys.argv[1], "rb").read()
life = life[: life.rfind(b"\n") + 1]
last = open(sys.argv[2], "rb").read()
if not last.startswith(life):
    sys.exit(f"{sys.argv[1]} answered something that the last run does not")
PY
done
cmp "$work/calm.out" "$work/killed.out"
"$flights" verify --data "$work/killed"
answered=$(cat "$work"/killed.[0-9]*.out | wc -l)
echo "killed $times times, with $answered answers on the way: the same state and the same answers"

#!/usr/bin/env bash
# Fuzzes a target, or all of them, each for so many seconds: from the committed corpus, and from what earlier runs found.
# An input that fails is kept in target/fuzz/failures; the target runs it alone when it is its argument.
#
#   scripts/fuzz.sh [TARGET|all] [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

chosen=${1:-all}
seconds=${2:-60}
build=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
# Named, so that build scripts and macros are compiled without what follows.
machine=$(rustc -vV | sed -n 's/^host: //p')
# LLVM's coverage as libFuzzer wants it, by what stable Rust passes on; without it, targets run and learn nothing.
coverage=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Clink-dead-code
    -Ccodegen-units=1
    --cfg fuzzing
)
targets=(targets/*.rs)
bins=--bins
if [ "$chosen" != all ]; then
    targets=("targets/$chosen.rs")
    bins="--bin=$chosen"
fi
RUSTFLAGS=${coverage[*]} cargo build --locked --release --target "$machine" --target-dir "$build" "$bins"

mkdir -p "$build/failures"
for target in "${targets[@]}"; do
    target=$(basename "$target" .rs)
    found=$build/corpus/$target
    words=$build/$target.words
    mkdir -p "$found"
    # The words of the texts in the corpus, since nobody finds them letter by letter.
    find -L "corpus/$target" -type f -exec env LC_ALL=C grep -aohE '[[:alnum:]_@./-]{3,40}' {} + | sort -u | sed 's/.*/"&"/' > "$words" || true
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1)
    [ -s "$words" ] && options+=(-dict="$words")
    if ! "$build/$machine/release/$target" "${options[@]}" -artifact_prefix="$build/failures/$target-" \
        "$found" "corpus/$target" 2> "$build/$target.log"; then
        tail -n 60 "$build/$target.log"
        echo "target $target failed; the input is in $build/failures"
        exit 1
    fi
    covered=$(grep -oE 'cov: [0-9]+' "$build/$target.log" | tail -n 1)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log")
    echo "$target: $runs inputs, $covered"
done

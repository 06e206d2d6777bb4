#!/usr/bin/env bash
# Measures the order command, durable, on Redis, Tarantool and SQLite, on bare parts, and on Extengine, in one run.
#
#   scripts/peers.sh [--rounds N] [--seconds S] [--only NAME]
#
# Prints one JSON line for each measurement; settings and a table of medians go to standard error.
# A server that is not installed is downloaded from Debian's packages and unpacked below target/peers: nothing is
# installed, and no service is started but ours, on loopback, with a data folder of its own, for the time of the run.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/peers
debian=$work/debian
mkdir -p "$work"

say() { echo "peers.sh: $*" >&2; }

export PATH=$PATH:$debian/usr/bin
missing=()
for server in redis-server tarantool; do
    command -v "$server" > /dev/null || missing+=("$server")
done
if [ "${#missing[@]}" -gt 0 ]; then
    say "${missing[*]}: not installed; unpacking Debian's packages into $debian"
    packages() { apt-get --simulate install --no-install-recommends "${missing[@]}" | sed -n 's/^Inst \([^ ]*\).*/\1/p'; }
    mkdir -p "$debian" "$work/packages"
    download() { (cd "$work/packages" && rm -f -- *.deb && apt-get download $(packages) >&2); }
    # The package lists may be older than the server's packages.
    download || { apt-get update >&2 && download; }
    for package in "$work"/packages/*.deb; do
        dpkg -x "$package" "$debian"
    done
fi
if [ -d "$debian" ]; then
    libraries=("$debian"/usr/lib/*-linux-gnu)
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries[0]}
fi

cargo build --release --manifest-path benches/peers/Cargo.toml --target-dir "$work/build" --locked >&2
# All that is measured in one build, so that the runtimes are compiled once.
partition=$(
    cargo build --release --workspace --all-features --bin extengine --bench partition \
        --message-format json-render-diagnostics |
        sed -n 's/.*"name":"partition".*"executable":"\([^"]*\)".*/\1/p'
)
"$work/build/release/peers" --data "$work/data" --app benches/orders \
    --extengine "$target/release/extengine" --partition "$partition" "$@"

#!/usr/bin/env bash
# Builds the Rust guests for WebAssembly and puts each .wasm where it is committed.
#
#   guests/build.sh [--check] [--route installed|rustup|debian] [CRATE [OUTPUT]]
#
# Without CRATE, every guest listed below. OUTPUT is the file to write (or, with
# --check, to compare with); a listed guest has its own. Both are paths from the
# repository's root.
#
# Routes, tried in this order until one works, or forced with --route:
#   installed  the target wasm32-unknown-unknown is there already
#   rustup     `rustup target add` fetches it
#   debian     Debian's newer compiler builds the standard library from its source
#
# --check leaves the committed files alone and prints, for each guest, `identical`
# or `different` and its file, then, if any differs, `rebuilt` and the folder in
# which the rebuilt files lie under the same paths. Routes have different compilers,
# and the checkout's place counts too, so bytes may differ; behaviour may not, and the
# caller tests the rebuilt guests.
#
# Exit status: 0 when every guest was built, 1 when one was not or no route works,
# 2 for bad usage. Messages go to standard error.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=wasm32-unknown-unknown
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}/guests")

guests=(
  "guests/suite conformance/guests/suite.wasm"
  "guests/suite conformance/guests/suite_1_0.wasm abi-1-0"
  "guests/bench benches/guests/bench.wasm"
  "guests/bare benches/guests/bare.wasm"
  "examples/flights/guest examples/flights/flights.wasm"
  "benches/orders/guest benches/orders/orders.wasm"
  "functions/guests/bindgen functions/tests/guests/bindgen.wasm"
  "examples/stream/guest examples/stream/plugins/delays.wasm"
  "functions/guests/contract functions/tests/guests/contract.wasm"
  "examples/proxy/filters/rust/add-header examples/proxy/filters/add-header.wasm"
  "examples/proxy/filters/rust/body-rewrite examples/proxy/filters/body-rewrite.wasm"
  "examples/proxy/filters/rust/jwt examples/proxy/filters/jwt.wasm"
  "examples/proxy/filters/rust/metrics-tick examples/proxy/filters/metrics-tick.wasm"
  "examples/proxy/filters/rust/rate-limit examples/proxy/filters/rate-limit.wasm"
  "examples/proxy/filters/rust/soak proxy/tests/guests/soak.wasm"
)

say() { echo "build.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
usage() { say "$*; usage: guests/build.sh [--check] [--route installed|rustup|debian] [CRATE [OUTPUT]]"; exit 2; }

# --- routes: each prepares the environment for cargo, or says why not and returns 1 ---

route_installed() {
  sysroot=$(rustc --print sysroot)
  [ -d "$sysroot/lib/rustlib/$target/lib" ] || { say "$target is not installed"; return 1; }
}

route_rustup() {
  command -v rustup >/dev/null || { say "there is no rustup"; return 1; }
  rustup target add "$target" >&2 || { say "rustup could not add $target"; return 1; }
  route_installed
}

# The fields of a package's candidate version, as `apt-cache show` prints them.
debian_field() {
  apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p"
}

# The first dependency of package $1 whose name matches $2.
debian_dependency() {
  debian_field "$1" Depends | tr ',' '\n' | grep -oE "^ *$2" | head -n 1 | tr -d ' '
}

# Downloads and unpacks the compiler and the standard library's source into $1.
debian_unpack() {
  local std llvm
  std=$(debian_dependency libstd-rust-web-dev 'libstd-rust-web-[0-9.]+') || return 1
  llvm=$(debian_dependency "$std" 'libllvm[0-9.]+') || return 1
  mkdir -p "$1/deb" || return 1
  (cd "$1/deb" && apt-get download rustc-web rust-web-src libstd-rust-web-dev "$std" "$llvm" >&2) || return 1
  local deb
  for deb in "$1"/deb/*.deb; do
    case $deb in
      */rust-web-src_*)
        dpkg-deb --fsys-tarfile "$deb" |
          tar -x -C "$1" --wildcards ./usr/lib/rustlib/src './usr/src/rustc-*/library' || return 1 ;;
      *) dpkg -x "$deb" "$1" || return 1 ;;
    esac
  done
  rm -r "$1/deb"
}

route_debian() {
  local tool
  for tool in apt-get apt-cache dpkg dpkg-deb cargo rustc; do
    command -v "$tool" >/dev/null || { say "there is no $tool"; return 1; }
  done
  # rustup's toolchain brings the linker, which Debian's does not.
  local host lld
  host=$(rustc -vV | sed -n 's/^host: //p')
  lld=$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld
  [ -x "$lld" ] || { say "there is no linker at $lld"; return 1; }

  local version
  version=$(debian_field rustc-web Version)
  if [ -z "$version" ]; then
    apt-get update >&2 || { say "apt-get update failed"; return 1; }
    version=$(debian_field rustc-web Version)
  fi
  [ -n "$version" ] || { say "this system's packages have no rustc-web"; return 1; }

  local folder=$target_dir/debian-toolchain-$version
  if [ ! -d "$folder" ]; then
    local part=$folder.part
    rm -rf "$part"
    if ! debian_unpack "$part"; then
      # The package lists may be older than the server's packages.
      rm -rf "$part"
      apt-get update >&2 && debian_unpack "$part" ||
        { say "Debian's packages could not be downloaded and unpacked"; return 1; }
    fi
    mv "$part" "$folder" || return 1
  fi

  sysroot=$folder/usr
  local libraries=("$sysroot"/lib/*-linux-gnu)
  export LD_LIBRARY_PATH=${libraries[0]} RUSTC=$sysroot/bin/rustc RUSTC_BOOTSTRAP=1
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$lld
  cargo_options+=(-Zbuild-std=std,panic_abort)
}

choose_route() {
  local route
  for route in ${forced:-installed rustup debian}; do
    cargo_options=(--release --target "$target" --target-dir "$target_dir/$route")
    if "route_$route"; then
      say "route $route: $("${RUSTC:-rustc}" --version)"
      return
    fi
  done
  fail "no route works: install the target $target, or run on Debian with rustup"
}

# --- building ---

# Flags that keep this machine's paths out of the guest; of several that match, the last wins.
remap_flags() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} from
  local flags=("--remap-path-prefix=$root=" "--remap-path-prefix=$sysroot=/rustc")
  flags+=("--remap-path-prefix=$cargo_home=/cargo")
  for from in "$cargo_home"/registry/src/*; do
    flags+=("--remap-path-prefix=$from=/registry")
  done
  (IFS=$'\x1f'; echo "${flags[*]}")
}

# Builds crate $1, with features $3, and copies its .wasm to $2.
build() {
  local wasm
  [ -f "$1/Cargo.toml" ] || fail "$1 is not a crate"
  cargo fetch --quiet "${locked[@]}" --manifest-path "$1/Cargo.toml"
  wasm=$(
    CARGO_ENCODED_RUSTFLAGS=$(remap_flags) \
      cargo build "${cargo_options[@]}" "${locked[@]}" --manifest-path "$1/Cargo.toml" --features "$3" \
      --message-format json-render-diagnostics | sed -n 's/.*"\([^"]*\.wasm\)".*/\1/p' |
      grep -v '/deps/' # A dependency may be a module of its own.
  )
  [ -f "$wasm" ] || fail "$1 does not build exactly one .wasm: is its crate-type cdylib?"
  if grep -aqF -e "$root/" -e "${CARGO_HOME:-$HOME/.cargo}/" -e "$sysroot/" "$wasm"; then
    fail "$wasm holds a path of this machine"
  fi
  mkdir -p "$(dirname "$2")"
  cp "$wasm" "$2"
  say "$1: $(wc -c <"$2") bytes"
}

# Rebuilds crate $1, with features $3, below the folder `rebuilt` and compares it with the committed $2.
check() {
  [ -f "$2" ] || fail "$2 is not there to compare with"
  build "$1" "$rebuilt/$2" "$3"
  if cmp -s "$2" "$rebuilt/$2"; then
    echo "identical $2"
  else
    echo "different $2"
    differ=yes
  fi
}

forced= action=build locked=()
while [ $# -gt 0 ]; do
  case $1 in
    --check) action=check locked=(--locked) ;;
    --route)
      case ${2-} in
        installed | rustup | debian) forced=$2 ;;
        *) usage "--route needs installed, rustup or debian" ;;
      esac
      shift ;;
    -*) usage "there is no option $1" ;;
    *) break ;;
  esac
  shift
done
case $# in
  0) ;;
  1)
    mapfile -t guests < <(printf '%s\n' "${guests[@]}" | grep "^${1%/} ")
    [ ${#guests[@]} -gt 0 ] || usage "$1 is not listed in this script: name its OUTPUT" ;;
  2) guests=("$1 $2") ;;
  *) usage "too many arguments" ;;
esac

choose_route
differ=no
[ "$action" = build ] || rebuilt=$(mktemp -d)
for guest in "${guests[@]}"; do
  read -r crate output features <<<"$guest"
  "$action" "$crate" "$output" "$features"
done
if [ "$differ" = yes ]; then
  echo "rebuilt $rebuilt"
elif [ "$action" = check ]; then
  rm -r "$rebuilt"
fi

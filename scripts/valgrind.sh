#!/usr/bin/env bash
# Unpacks Debian's valgrind into a folder, which needs no root, with a `bin/valgrind` that finds its tools there.
#
#   scripts/valgrind.sh FOLDER
#
# Exit status: 0 when the unpacked callgrind runs, 1 when it does not or cannot be had.
set -euo pipefail

[ $# = 1 ] || { echo "usage: scripts/valgrind.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$folder"
rm -f valgrind_*.deb
apt-get download valgrind || { apt-get update; apt-get download valgrind; }
dpkg -x valgrind_*.deb .
mkdir -p bin
cat > bin/valgrind << END
#!/bin/sh
VALGRIND_LIB=$folder/usr/libexec/valgrind exec $folder/usr/bin/valgrind "\$@"
END
chmod +x bin/valgrind
bin/valgrind --tool=callgrind --callgrind-out-file=/dev/null true

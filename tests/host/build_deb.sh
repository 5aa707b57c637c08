#!/bin/bash
# Packages a finished build as a .deb and prints its path. The build must have been configured with --prefix=/usr.
#
#   build_deb.sh BUILD OUT
set -euo pipefail

[ $# -eq 2 ] || {
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
build=$(readlink -f "$1")
mkdir -p "$2"
out=$(readlink -f "$2")
source=$(cd "$(dirname "$0")/../.." && pwd)

# dpkg wants debian/ at the top of the source and writes beside it: it gets a copy.
rm -rf "$out/hal9000" "$out"/*.deb
mkdir -p "$out/hal9000"
(cd "$source" && git ls-files -z --cached --others --exclude-standard 2>/dev/null | xargs -0 -r ls -d 2>/dev/null |
    tar -c -T - | tar -x -C "$out/hal9000") || cp -a "$source/." "$out/hal9000/"
cp -a "$source/packaging/debian" "$out/hal9000/debian"
cd "$out/hal9000"
HAL9000_BUILD=$build dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes --no-check-builddeps \
    >"$out/build.log" 2>&1 || {
    tail -n 40 "$out/build.log" >&2
    exit 1
}
ls "$out"/hal9000_*.deb

#!/bin/bash
# Makes a Debian root as a folder in the cache and prints its path; an existing one of the same contents is used again.
#
#   make_root.sh CACHE RELEASE NAME PACKAGE…    e.g. make_root.sh /var/cache/hal9000-check trixie build g++ meson
#
# Packages come from the mirrors of this machine's own apt sources.
set -euo pipefail

[ $# -ge 4 ] || {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
cache=$1 release=$2 name=$3
shift 3
[ "$(id -u)" = 0 ] || {
    echo "make_root.sh: must run as root" >&2
    exit 1
}

key=$(printf '%s\n' "$release" "$@" | sha256sum | cut -c1-12)
root=$cache/roots/$name-$release-$key
mkdir -p "$cache/roots"
exec 9>"$cache/roots/lock"
flock 9
if [ -e "$root/.complete" ]; then
    echo "$root"
    exit 0
fi
# Older roots of this name are of no use any more.
find "$cache/roots" -maxdepth 1 -name "$name-*" ! -path "$root" -exec rm -rf --one-file-system {} +
rm -rf --one-file-system "$root"

mirror=$(sed -nE 's/^(deb|URIs:)\s+(\[[^]]*\]\s+)?(https?:\/\/\S+).*/\3/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -v security | head -n 1 || true)
packages=$(IFS=,; echo "$*")
mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
    --aptopt='Acquire::Retries "3"' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$release" "$root" ${mirror:+"$mirror"} >&2
touch "$root/.complete"
echo "$root"

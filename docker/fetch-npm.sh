#!/bin/sh
# Fetches a package of npm and verifies it: fetch-npm.sh CACHE PACKAGE VERSION INTEGRITY prints where the archive is.
# INTEGRITY is what the registry publishes: sha512- and the hash in base64.
set -eu

[ $# -eq 4 ] || {
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
}
die() {
    printf 'fetch-npm.sh: %s\n' "$*" >&2
    exit 1
}

wanted=$(printf %s "${4#sha512-}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
archive=$1/$(printf %s "$2-$3" | tr -c 'A-Za-z0-9.-' _).tgz
command -v npm >/dev/null || die "npm is not installed"
mkdir -p "$1"
work=$(mktemp -d "$1/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
npm pack --loglevel=error --pack-destination "$work" "$2@$3" >/dev/null ||
    die "npm cannot fetch $2@$3 from $(npm config get registry)"
set -- "$work"/*.tgz "$2@$3"
got=$(sha512sum "$1" | cut -d' ' -f1)
[ "$got" = "$wanted" ] || die "$2 has SHA-512 $got, pinned is $wanted"
mv "$1" "$archive"
echo "$archive"

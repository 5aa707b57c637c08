#!/bin/sh
# Makes Java's key store of the tree's certificates, as a package's script would: extra.sh TREE CACHE DOWNLOADS
set -eu

# On a public base the package's script has run.
[ -e "$1/etc/ssl/certs/ca-certificates.crt" ] || exit 0
mkdir -p "$1/etc/ssl/certs/java"
python3 "$(dirname "$0")/cacerts.py" "$1/etc/ssl/certs/ca-certificates.crt" "$1/etc/ssl/certs/java/cacerts"

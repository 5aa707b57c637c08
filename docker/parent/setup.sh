#!/bin/sh
# Makes a base image ready for the parent; runs as a build step. PACKAGE... are installed where the base has apt.
set -eu

if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends "$@"
    apt-get clean
    rm -rf /var/lib/apt/lists/* /usr/share/man /usr/share/info /usr/share/locale
fi

# Writable for whichever uid the server runs as when nothing is mounted there.
mkdir -p /data
chmod 1777 /data

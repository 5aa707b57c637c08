#!/bin/sh
# Makes a base image ready for a worker; runs as a build step. PACKAGE... are installed where the base has apt (a public
# Debian image); in a base made by debian/root.sh they are there already.
set -eu

if [ $# -gt 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends "$@"
    apt-get clean
    rm -rf /var/lib/apt/lists/* /usr/share/man /usr/share/info /usr/share/locale
fi

if ! grep -q '^claude:' /etc/passwd; then
    echo 'claude:x:1000:1000:Claude Code:/home/claude:/bin/bash' >>/etc/passwd
    echo 'claude:x:1000:' >>/etc/group
    mkdir -p /home/claude /workspace
    chown 1000:1000 /home/claude /workspace
fi

# Where the host binds its programs and the worker's folder at run time: the root is read-only by then.
mkdir -p /run/hal9000 /usr/local/bin
for program in hal9000-init hal9000-mcp; do
    [ -e /usr/local/bin/$program ] || : >/usr/local/bin/$program
    chmod 755 /usr/local/bin/$program
done

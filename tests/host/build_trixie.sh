#!/bin/bash
# Builds this source on Debian 13 with warnings as errors, in a root of its own without a network.
#
#   build_trixie.sh --cache DIR [--junit FILE]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
cache=
junit=
while [ $# -gt 0 ]; do
    case $1 in
        --cache) cache=$2 && shift ;;
        --junit) junit=$2 && shift ;;
        *)
            sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
    shift
done
[ -n "$cache" ] || {
    echo "build_trixie.sh: --cache is missing" >&2
    exit 2
}

mapfile -t packages < <(awk '$1 == "build" && (NF == 2 || $3 == 13) { print $2 }' "$source/packaging/packages.txt")
root=$("$here/make_root.sh" "$cache" trixie build "${packages[@]}")
ccache=$cache/ccache-trixie
mkdir -p "$root/source" "$root/build" "$root/ccache" "$ccache"

# The mounts are the namespace's own and end with it.
# shellcheck disable=SC2016 # the inner shell expands them
unshare --mount --net --propagation private bash -euc '
    root=$1 source=$2 ccache=$3
    mount --bind "$source" "$root/source"
    mount -o remount,bind,ro "$root/source"
    mount --bind "$ccache" "$root/ccache"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        CCACHE_DIR=/ccache CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=1G CXX="ccache g++" bash -euc "
            if [ ! -f /build/build.ninja ]; then
                meson setup /build /source --prefix=/usr -Dtests=false -Dwerror=true -Dbuildtype=plain -Doptimization=1
            fi
            ninja -C /build -k 0 # every file that fails, not only the first
            for program in hal9000d:daemon hal9000-gateway:gateway hal9000-mcp:relay hal9000-remote:remote hal9000-init:init claudy:claudy; do
                file=/build/src/\${program#*:}/\${program%:*}
                test -x \$file || { echo \$file was not built; exit 1; }
            done
            /build/src/claudy/claudy --version
        "
' bash "$root" "$source" "$ccache"

if [ -n "$junit" ]; then
    cat >"$junit" <<END
<testsuite name="trixie"><testcase classname="trixie" name="builds on Debian 13 without warnings"/></testsuite>
END
fi

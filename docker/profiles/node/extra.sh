#!/bin/sh
# Puts node and npm into a tree: extra.sh TREE CACHE DOWNLOADS (a file that says what was taken)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
pinned() { sed -n "s/^$1=//p" "$here/node.pin"; }
case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *)
        echo "extra.sh: node is not made for $(uname -m)" >&2
        exit 1
        ;;
esac
take() { # PACKAGE VERSION INTEGRITY FOLDER FILE…: the files of the package below the folder
    archive=$("$here/../../fetch-npm.sh" "$cache" "$1" "$2" "$3")
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$downloads"
    folder=$4
    shift 4
    mkdir -p "$folder"
    tar -xzf "$archive" -C "$folder" --strip-components=1 --no-same-owner "$@"
    rm "$archive"
}
tree=$1 cache=$2 downloads=$3
take "node-linux-$arch" "$(pinned node)" "$(pinned "node_$arch")" "$tree/usr/local" package/bin/node
take npm "$(pinned npm)" "$(pinned npm_any)" "$tree/usr/local/lib/node_modules/npm"
rm -rf "$tree/usr/local/lib/node_modules/npm/docs" "$tree/usr/local/lib/node_modules/npm/man"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tree/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$tree/usr/local/bin/npx"
chmod -R u=rwX,go=rX "$tree/usr/local"

#!/bin/sh
# Fetches the pinned Claude Code program: fetch-claude.sh CACHE DOWNLOADS prints the path of the verified program and
# adds to the file DOWNLOADS what it is.
set -eu

[ $# -eq 2 ] || {
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *)
        echo "fetch-claude.sh: Claude Code is not made for $(uname -m)" >&2
        exit 1
        ;;
esac
package=@anthropic-ai/claude-code-linux-$arch
version=$(sed -n 's/^version=//p' "$here/claude-code.pin")
integrity=$(sed -n "s/^$arch=//p" "$here/claude-code.pin")
program=$1/claude-$version-$arch-$(printf %s "$integrity" | sha256sum | cut -c1-12)
if [ ! -x "$program" ]; then
    archive=$("$here/../fetch-npm.sh" "$1" "$package" "$version" "$integrity")
    work=$(mktemp -d "$1/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    tar -xzf "$archive" -C "$work" package/claude
    chmod 755 "$work/package/claude"
    mv "$work/package/claude" "$program"
    rm "$archive"
fi
printf '%s\t%s\t%s\n' "$package" "$version" "$integrity" >>"$2"
echo "$program"

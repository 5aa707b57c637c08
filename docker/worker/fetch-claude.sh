#!/bin/sh
# Fetches the pinned Claude Code program: fetch-claude.sh CACHE-DIR prints the path of the verified program.
set -eu

[ $# -eq 1 ] || {
    sed -n '2s/^# //p' "$0" >&2
    exit 2
}
die() {
    printf 'fetch-claude.sh: %s\n' "$*" >&2
    exit 1
}

pin=$(dirname "$0")/claude-code.pin
case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) die "Claude Code is not made for $(uname -m)" ;;
esac
version=$(sed -n 's/^version=//p' "$pin")
wanted=$(sed -n "s/^$arch=sha512-//p" "$pin" | base64 -d | od -An -v -tx1 | tr -d ' \n')
program=$1/claude-$version-$arch
if [ -x "$program" ]; then
    echo "$program"
    exit 0
fi

command -v npm >/dev/null || die "npm is not installed"
mkdir -p "$1"
work=$(mktemp -d "$1/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
package=@anthropic-ai/claude-code-linux-$arch@$version
npm pack --silent --pack-destination "$work" "$package" >/dev/null || die "npm cannot fetch $package"
set -- "$work"/*.tgz
got=$(sha512sum "$1" | cut -d' ' -f1)
[ "$got" = "$wanted" ] || die "$package has SHA-512 $got, pinned is $wanted"
tar -xzf "$1" -C "$work" package/claude
chmod 755 "$work/package/claude"
mv "$work/package/claude" "$program"
echo "$program"

#!/bin/sh
# Installs the npm packages that a folder's package.json and lock file name (default: the real MCP servers of the
# component tests) and prints where. The place is named after the lock file, so that a second run only prints it.
set -eu
here=$(cd "${1:-$(dirname "$0")/mcp_servers}" && pwd)
if [ "$(id -u)" = 0 ]; then
  default=/var/cache/hal9000-tests # MCP servers run as users of their own, who cannot enter root's home
else
  default=${XDG_CACHE_HOME:-$HOME/.cache}/hal9000-tests
fi
cache=${HAL9000_TEST_CACHE:-$default}
hash=$(sha256sum "$here/package-lock.json" | cut -c1-16)
name=$(basename "$here" | tr _ -)
folder=$cache/$name-$hash
if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$cache/$name-new-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  chmod 755 "$fresh"  # MCP servers run as users of their own
  touch "$fresh/complete"
  mv -T "$fresh" "$folder" 2>/dev/null || [ -e "$folder/complete" ]  # another run may have been quicker
fi
echo "$folder"
